import ZooKeeperProtocol

/// A setting from the command line: it goes through the same table as a line of the file, and wins over it.
package struct ConfigurationOverride: Sendable, Equatable {
    package var key: String
    package var value: String
    /// How the person gave it, for messages: `--port`.
    package var origin: String

    package init(key: String, value: String, origin: String) {
        self.key = key
        self.value = value
        self.origin = origin
    }
}

/// The text of a configuration file, and the name to call it by.
package struct ConfigurationText: Sendable, Equatable {
    package var name: String
    package var text: String

    package init(name: String, text: String) {
        self.name = name
        self.text = text
    }
}

/// Why a file that a configuration names could not be read.
package struct UnreadableFile: Error, Sendable, Equatable {
    /// Continues "cannot be read: …".
    package var reason: String

    package init(reason: String) {
        self.reason = reason
    }
}

extension ServerConfiguration {
    /// Reads a `zoo.cfg` with Apache's meaning.
    ///
    /// - Parameter fileName: how messages call the file.
    package static func parse(
        text: String,
        fileName: String
    ) throws(ConfigurationError) -> (configuration: ServerConfiguration, notes: [ConfigurationNote]) {
        try read(file: ConfigurationText(name: fileName, text: text))
    }

    /// Reads a configuration from a file, from the command line, or from both.
    ///
    /// Without a file the defaults are those of somebody who tries the server: loopback addresses, `aviary-data`.
    ///
    /// - Parameter openFile: gives the text of the files that a member of an ensemble needs besides: the one that
    ///   `dynamicConfigFile` names, and `myid` in the data directory.
    /// - Throws: all problems at once, in the order of the file.
    package static func read(
        file: ConfigurationText?,
        overrides: [ConfigurationOverride] = [],
        openFile: (String) throws(UnreadableFile) -> String = { _ throws(UnreadableFile) in
            throw UnreadableFile(reason: "files cannot be opened here")
        }
    ) throws(ConfigurationError) -> (configuration: ServerConfiguration, notes: [ConfigurationNote]) {
        var reader = ConfigurationReader(file: file)
        reader.take(overrides: overrides)
        reader.enter()
        reader.takeEnsemble(open: openFile)
        let configuration = reader.finish()
        guard reader.problems.isEmpty else { throw ConfigurationError(reader.problemsInOrder) }
        return (configuration, reader.notes)
    }
}

/// Walks the settings in the order in which they were given, and gathers what is wrong with them.
struct ConfigurationReader {
    /// A line or a flag.
    private struct Assignment {
        var key: ConfigurationKey
        /// The key as it was written.
        var spelling: String
        var value: String
        var source: Source
        /// A later one of the same setting counts.
        var isReplaced = false

        /// What makes two of them the same setting.
        var identity: String { key.isFamily ? spelling.withoutPropertyPrefix : key.name }

        /// For messages.
        var shown: String { "\(spelling)=\(key.isSecret ? "(hidden)" : value)" }
    }

    enum Source: Equatable {
        case line(Int)
        /// A line of the file that `dynamicConfigFile` names.
        case dynamicLine(path: String, Int)
        case flag(String)
    }

    private(set) var problems: [(source: Source?, text: String)] = []
    private(set) var notes: [ConfigurationNote] = []

    let fileName: String?
    private var unknownKeys = 0
    private var assignments: [Assignment] = []
    /// Where each setting stands in `assignments`, by what makes two of them the same.
    private var positions: [String: Int] = [:]
    var draft = ConfigurationDraft()
    /// `server.N`, `group.N` and `weight.N`.
    private(set) var lines = ConfigurationLines()
    /// Whether each of those lines was understood.
    private(set) var areMembersComplete = true
    private(set) var sourceOfMembers: Source?
    /// Keys that were taken and mean something to members of ensembles only, by where they stand.
    private(set) var forMembers: [(source: String, keys: [String])] = []
    /// Whether this server is a member of an ensemble.
    var isMember = false

    init(file: ConfigurationText?) {
        fileName = file?.name
        guard let file else { return }
        let properties = PropertiesFile(file.text)
        for line in properties.malformed {
            report(.line(line.line), "\(line.text): allowed behind \\u are four hexadecimal digits")
        }
        for property in properties.properties {
            take(property.key, property.value, from: .line(property.line))
        }
    }

    mutating func take(overrides: [ConfigurationOverride]) {
        for override in overrides {
            take(override.key, override.value, from: .flag(override.origin))
        }
    }

    private mutating func take(_ spelling: String, _ value: String, from source: Source) {
        guard let key = KeyTable.key(named: spelling) else { return reportUnknown(spelling, source) }
        let assignment = Assignment(key: key, spelling: spelling, value: value, source: source)
        if let position = positions[assignment.identity] {
            if case .line = source {
                let earlier = assignments[position].source
                note(.warning, source, "\(spelling) is set again, and \(describe(earlier)) has no effect")
            }
            assignments[position].isReplaced = true
        }
        positions[assignment.identity] = assignments.count
        assignments.append(assignment)
    }

    /// Forgets what a later line or flag has set again.
    private mutating func removeReplaced() {
        assignments.removeAll(where: \.isReplaced)
        positions = [:]
    }

    /// Apache makes a property of any key and says nothing; on a command line an unknown one can only be a mistake.
    private mutating func reportUnknown(_ spelling: String, _ source: Source) {
        // Help for a person, who has not written this many wrong keys.
        unknownKeys += 1
        let hint =
            unknownKeys > 100
            ? ""
            : Spelling.nearest(to: spelling.withoutPropertyPrefix, among: KeyTable.spellings).map {
                "; did you mean \($0)?"
            } ?? ""
        switch source {
        case .line, .dynamicLine:
            note(.warning, source, "\(spelling) is not a key of ZooKeeper and has no effect\(hint)")
        case .flag: report(source, "\(spelling) is not a key of ZooKeeper\(hint)")
        }
    }
}

// MARK: - Entering values

extension ConfigurationReader {
    /// Enters every value into the draft.
    mutating func enter() {
        removeReplaced()
        var withoutEffect: [(source: String, reason: String, keys: [String])] = []
        for assignment in assignments {
            noteSpelling(of: assignment)
            switch assignment.key.respond(assignment.value, &draft) {
            case .taken: break
            case .takenForMembers:
                let source = name(of: assignment.source)
                if let index = forMembers.firstIndex(where: { $0.source == source }) {
                    forMembers[index].keys.append(assignment.spelling)
                } else {
                    forMembers.append((source, [assignment.spelling]))
                }
            case .cautioned(let caution): note(.warning, assignment.source, "\(assignment.shown): \(caution)")
            case .invalid: report(assignment.source, "\(assignment.shown): allowed is \(assignment.key.allowed)")
            case .refused(let reason): report(assignment.source, "\(assignment.shown) is refused: \(reason)")
            case .withoutEffect(let reason):
                let source = name(of: assignment.source)
                if let index = withoutEffect.firstIndex(where: { $0.source == source && $0.reason == reason }) {
                    withoutEffect[index].keys.append(assignment.spelling)
                } else {
                    withoutEffect.append((source, reason, [assignment.spelling]))
                }
            }
        }
        for group in withoutEffect {
            let keys = group.keys.joined(separator: ", ")
            notes.append(
                ConfigurationNote(.info, "\(group.source): accepted without effect: \(keys) (\(group.reason))")
            )
        }
    }

    /// Says where Apache would not have taken a key by this name.
    private mutating func noteSpelling(of assignment: Assignment) {
        guard case .line = assignment.source else { return }
        let (key, spelling) = (assignment.key, assignment.spelling)
        let bare = spelling.withoutPropertyPrefix
        if key.documentedNames.contains(bare) {
            note(
                .info,
                assignment.source,
                "\(spelling) is taken as \(key.name); Apache documents the first name, but its zoo.cfg takes only the "
                    + "second"
            )
        } else if key.isFlagOnly {
            note(
                .info,
                assignment.source,
                "\(spelling) is taken from this file; Apache takes it only as a flag of the Java virtual machine"
            )
        } else if bare != spelling {
            note(.info, assignment.source, "\(spelling) is taken as \(bare); Apache's zoo.cfg takes only the second")
        }
    }

    var members: [QuorumMember] { lines.members }

    /// Reads the lines for members, from this file or from the dynamic one.
    ///
    /// - Returns: the version of the configuration that they are.
    mutating func takeMembers(open: (String) throws(UnreadableFile) -> String) -> Int64 {
        let memberLines = assignments.filter { ConfigurationReader.memberKeys.contains($0.key.name) }
        guard let dynamic = assignments.first(where: { $0.key.name == "dynamicConfigFile" }) else {
            for line in memberLines {
                take(member: line.spelling.withoutPropertyPrefix, line.value, from: line.source)
            }
            return 0
        }
        for line in memberLines {
            report(line.source, "\(line.shown): with dynamicConfigFile this belongs into that file")
        }
        takeDynamicFile(dynamic, open)
        return draft.dynamicConfigurationFile.flatMap { QuorumConfiguration.version(ofDynamicFileNamed: $0) } ?? 0
    }

    /// Then no file is where a reconfiguration could be written.
    var areMembersFromFlags: Bool {
        assignments.contains { assignment in
            guard case .flag = assignment.source else { return false }
            return assignment.key.name == "dynamicConfigFile"
                || ConfigurationReader.memberKeys.contains(assignment.key.name)
        }
    }

    private static let memberKeys = ["server.", "group.", "weight."]

    private mutating func takeDynamicFile(
        _ dynamic: Assignment,
        _ open: (String) throws(UnreadableFile) -> String
    ) {
        guard let path = draft.dynamicConfigurationFile else { return }
        let text: String
        do {
            text = try open(path)
        } catch {
            areMembersComplete = false
            return report(dynamic.source, "\(dynamic.shown): the file cannot be read: \(error.reason)")
        }
        let file = PropertiesFile(text)
        var last: [String: Int] = [:]
        for (index, property) in file.properties.enumerated() { last[property.key] = index }
        for (index, property) in file.properties.enumerated() {
            let source = Source.dynamicLine(path: path, property.line)
            if last[property.key] != index {
                note(.warning, source, "\(property.key) is set again further down, and this line has no effect")
            } else if ConfigurationReader.memberKeys.contains(where: { property.key.hasPrefix($0) }) {
                take(member: property.key, property.value, from: source)
            } else {
                report(source, "\(property.key): allowed in a dynamic file are server.N, group.N and weight.N")
            }
        }
        for line in file.malformed {
            areMembersComplete = false
            report(
                .dynamicLine(path: path, line.line),
                "\(line.text): allowed behind \\u are four hexadecimal digits"
            )
        }
    }

    private mutating func take(member key: String, _ value: String, from source: Source) {
        do throws(MalformedConfiguration) {
            try lines.take(key: key, value: value)
            sourceOfMembers = sourceOfMembers ?? source
        } catch {
            areMembersComplete = false
            let form = key.hasPrefix("server.") ? "; allowed is \(QuorumMember.form)" : ""
            report(source, error.text + form)
        }
    }
}

// MARK: - Places

extension ConfigurationReader {
    mutating func report(_ source: Source?, _ text: String) {
        problems.append((source, text))
    }

    /// The file's by line, then those of the dynamic file, of flags, and of what is nowhere.
    var problemsInOrder: [ConfigurationError.Problem] {
        func rank(_ source: Source?) -> (kind: Int, line: Int) {
            switch source {
            case .line(let line): (0, line)
            case .dynamicLine(_, let line): (1, line)
            case .flag: (2, 0)
            case nil: (3, 0)
            }
        }
        // The sort of the standard library keeps the order of equals, but does not promise it.
        return problems.enumerated()
            .sorted { first, second in
                let (a, b) = (rank(first.element.source), rank(second.element.source))
                return (a.kind, a.line, first.offset) < (b.kind, b.line, second.offset)
            }
            .map { ConfigurationError.Problem(place: place(of: $0.element.source), text: $0.element.text) }
    }

    mutating func note(_ severity: ConfigurationNote.Severity, _ source: Source?, _ text: String) {
        notes.append(ConfigurationNote(severity, "\(place(of: source)): \(text)"))
    }

    mutating func note(_ severity: ConfigurationNote.Severity, _ text: String) {
        notes.append(ConfigurationNote(severity, text))
    }

    func source(of key: String) -> Source? {
        assignments.last { $0.key.name == key }?.source
    }

    func isFlag(_ key: String) -> Bool {
        if case .flag(_)? = source(of: key) { true } else { false }
    }

    /// `zoo.cfg:12`, `--port`, or the file alone for what is nowhere.
    private func place(of source: Source?) -> String {
        switch source {
        case .line(let line): "\(fileName ?? "configuration"):\(line)"
        case .dynamicLine(let path, let line): "\(path):\(line)"
        case .flag(let origin): origin
        case nil: fileName ?? "configuration"
        }
    }

    private func name(of source: Source) -> String {
        switch source {
        case .line: fileName ?? "configuration"
        case .dynamicLine(let path, _): path
        case .flag(let origin): origin
        }
    }

    private func describe(_ source: Source) -> String {
        switch source {
        case .line(let line): "line \(line)"
        case .dynamicLine, .flag: place(of: source)
        }
    }
}

extension String {
    fileprivate var withoutPropertyPrefix: String {
        hasPrefix(KeyTable.prefix) ? String(dropFirst(KeyTable.prefix.count)) : self
    }
}
