/// Numbers as Java prints them, which is what scripts that read `srvr` and `mntr` have been written for.
enum JavaNumber {
    /// An average, rounded to four decimals: `9.0131`, `0.0`, `1.0E-4`, `1.25E7`.
    static func rounded(_ value: Double) -> String {
        text((value * 10_000).rounded() / 10_000)
    }

    /// Between a thousandth and ten million with a decimal point, otherwise with an exponent.
    static func text(_ value: Double) -> String {
        let size = value.magnitude
        guard value.isFinite, size != 0, size < 1e-3 || size >= 1e7 else { return "\(value)" }
        // Swift's shortest digits are the same as Java's; only where the point goes differs.
        let plain = "\(size)"
        let parts = plain.split(separator: "e")
        let shift = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        let pieces = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        var digits = String(pieces[0]) + (pieces.count > 1 ? String(pieces[1]) : "")
        var exponent = pieces[0].count - 1 + shift
        while digits.hasPrefix("0"), digits.count > 1 {
            digits.removeFirst()
            exponent -= 1
        }
        while digits.hasSuffix("0"), digits.count > 1 { digits.removeLast() }
        let fraction = digits.count > 1 ? String(digits.dropFirst()) : "0"
        return "\(value < 0 ? "-" : "")\(digits.prefix(1)).\(fraction)E\(exponent)"
    }
}
