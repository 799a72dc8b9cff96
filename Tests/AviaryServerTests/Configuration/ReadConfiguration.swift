import Testing

@testable import AviaryServer

/// What every test file needs to be complete: a directory and a port.
let minimalFile = "dataDir=/data\nclientPort=2181\n"

/// Reads the minimal file with these lines behind it, which begin at line 3.
func read(
    _ lines: String,
    overrides: [ConfigurationOverride] = [],
    sourceLocation: SourceLocation = #_sourceLocation
) throws -> ServerConfiguration {
    try ServerConfiguration.read(
        file: ConfigurationText(name: "zoo.cfg", text: minimalFile + lines),
        overrides: overrides
    )
    .configuration
}

/// The notes about these lines.
func notes(_ lines: String, overrides: [ConfigurationOverride] = []) throws -> [ConfigurationNote] {
    try ServerConfiguration.read(
        file: ConfigurationText(name: "zoo.cfg", text: minimalFile + lines),
        overrides: overrides
    )
    .notes
}

/// What is wrong with these lines, a text for each problem; empty if nothing is.
func problems(_ lines: String, overrides: [ConfigurationOverride] = []) -> [String] {
    do throws(ConfigurationError) {
        _ = try ServerConfiguration.read(
            file: ConfigurationText(name: "zoo.cfg", text: minimalFile + lines),
            overrides: overrides
        )
        return []
    } catch {
        return error.problems.map(\.description)
    }
}
