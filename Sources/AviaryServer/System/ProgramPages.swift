#if os(Linux)
    #if canImport(Glibc)
        internal import Glibc
    #elseif canImport(Musl)
        internal import Musl
    #endif
#endif

/// The program itself as it lies in memory.
package enum ProgramPages {
    /// Lets go of the code that only the start needed: reading options and files, setting up, recovering. What is needed
    /// again is there at the next touch, from the system's cache of the same file.
    ///
    /// Two thirds of the resident memory of an idle server are such pages, and an operator who reads its size, or a
    /// scheduler that packs containers by it, would take them for memory that it needs.
    package static func letGoOfStart() {
        #if os(Linux)
            for range in codeRanges() {
                guard let start = UnsafeMutableRawPointer(bitPattern: range.lowerBound) else { continue }
                // Code is never written to: what is dropped here is read again unchanged.
                madvise(start, Int(range.upperBound - range.lowerBound), MADV_DONTNEED)
            }
        #endif
    }

    #if os(Linux)
        /// Where code of files is mapped that nobody can write to.
        private static func codeRanges() -> [Range<UInt>] {
            guard let maps = fopen("/proc/self/maps", "re") else { return [] }
            defer { fclose(maps) }
            var ranges: [Range<UInt>] = []
            var line: UnsafeMutablePointer<CChar>?
            var capacity = 0
            defer { free(line) }
            while getline(&line, &capacity, maps) > 0, let line {
                if let range = codeRange(String(cString: line)) { ranges.append(range) }
            }
            return ranges
        }

        /// `5581a4e00000-5581a5a4e000 r-xp 00a00000 fe:00 1234   /usr/bin/aviary`
        static func codeRange(_ line: String) -> Range<UInt>? {
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            guard fields.count >= 6, fields[1] == "r-xp", fields[5].hasPrefix("/") else { return nil }
            let bounds = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            guard bounds.count == 2, bounds[0] < bounds[1] else { return nil }
            return bounds[0]..<bounds[1]
        }
    #endif
}
