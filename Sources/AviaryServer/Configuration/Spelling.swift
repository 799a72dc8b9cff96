/// Finds the word that somebody probably meant.
enum Spelling {
    /// The nearest of some words, or `nil` if none is near: more than a third of the letters would have to change.
    ///
    /// Case counts for nothing, so that `datadir` finds `dataDir`. Of equally near words the first one wins.
    static func nearest(to word: String, among words: [String]) -> String? {
        let lowered = Array(word.lowercased().unicodeScalars)
        let limit = max(1, lowered.count / 3)
        var best: (word: String, distance: Int)?
        for candidate in words {
            let letters = Array(candidate.lowercased().unicodeScalars)
            // At least as many changes as one is longer than the other: a line of noise is not compared at all.
            guard abs(letters.count - lowered.count) <= min(limit, best?.distance ?? .max) else { continue }
            let distance = distance(lowered, letters)
            if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.word
    }

    /// Letters to insert, remove or replace, or neighbours to swap, to turn one word into another.
    private static func distance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            row.reserveCapacity(b.count + 1)
            for j in 0..<b.count {
                var least = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                    least = min(least, beforeLast[j - 1] + 1)
                }
                row.append(least)
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
