/// Why `aviary dev` does not start: what is wrong, and what to do.
struct DevError: Error, CustomStringConvertible {
    var description: String
    /// The command line is wrong, not the machine.
    var isUsage: Bool

    init(_ description: String, isUsage: Bool = false) {
        self.description = description
        self.isUsage = isUsage
    }
}
