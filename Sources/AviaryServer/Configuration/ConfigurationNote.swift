/// Something about a configuration that its owner should hear at every start, though the server runs.
package struct ConfigurationNote: Sendable, Equatable {
    package enum Severity: String, Sendable, Equatable {
        /// A key without effect, or a name that Apache reads differently.
        case info
        /// A setting that weakens safety, an unknown key, a line that another one replaces.
        case warning
    }

    package var severity: Severity
    package var text: String

    package init(_ severity: Severity, _ text: String) {
        self.severity = severity
        self.text = text
    }
}

/// A configuration that the server refuses, with everything that is wrong with it.
package struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// One problem: where it is and what to do about it.
    package struct Problem: Sendable, Equatable, CustomStringConvertible {
        /// `zoo.cfg:12`, `--port`, or the file's name alone for what is missing in it.
        package var place: String
        package var text: String

        package var description: String { "\(place): \(text)" }
    }

    /// In the order of the file; never empty.
    package var problems: [Problem]

    package init(_ problems: [Problem]) {
        self.problems = problems
    }

    /// A line for each problem.
    package var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}
