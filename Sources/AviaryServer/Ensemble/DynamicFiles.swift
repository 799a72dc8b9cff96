internal import ZooKeeperProtocol

/// The files that hold the members of an ensemble beside its `zoo.cfg`, as Apache's servers keep them.
///
/// `<cfg>.dynamic.next` is the configuration that was proposed, `<cfg>.dynamic.<version>` the one in force, to which the
/// line `dynamicConfigFile` of the `zoo.cfg` points. Each change is a list of steps, and a server can be started from what
/// any number of them has left. What is on disk here is a copy: the transactions hold every configuration, too.
///
/// - Source: `docs/protocol/quorum-protocol.md` section 2.6.
struct DynamicFiles: Sendable {
    /// The `zoo.cfg`, by a name that begins at the root.
    let staticFile: String
    let me: ServerID

    init(staticFile: String, me: ServerID) {
        self.staticFile = FileReplacement.absolute(staticFile)
        self.me = me
    }

    /// One change of one file, which happens or does not.
    enum Step: Sendable, Equatable {
        case write(String, [UInt8])
        case remove(String)
    }

    /// Why the files stay as they are.
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ trouble: FileReplacement.Trouble) { description = "\(trouble)" }
        init(_ path: String, _ error: UnreadableFile) { description = "\(path) cannot be read: \(error.reason)" }
    }

    /// What stands behind the name of the `zoo.cfg`.
    static let nextSuffix = ".dynamic.next"

    var nextFile: String { staticFile + Self.nextSuffix }
    var formerFile: String { staticFile + ".bak" }

    func dynamicFile(of configuration: QuorumConfiguration) -> String {
        "\(staticFile).dynamic.\(configuration.versionText)"
    }

    // MARK: - Changes

    func stepsToPropose(_ configuration: QuorumConfiguration) -> [Step] {
        [.write(nextFile, Array(configuration.dynamicFileText(includesVersion: true).utf8))]
    }

    /// - Parameters:
    ///   - previousVersion: of the configuration that was in force before.
    ///   - clientPort: where clients are served now.
    func stepsToCommit(
        _ configuration: QuorumConfiguration,
        previousVersion: Int64,
        clientPort: Int
    ) throws(Failure) -> [Step] {
        var steps: [Step] = []
        // Who is to join and is no member yet could not be started from this; what it was started from, it can.
        if configuration.member(me) != nil || previousVersion != 0 {
            steps = try stepsToPointTo(configuration, clientPort: clientPort)
        }
        return steps + (try stepsToForgetNext(upTo: configuration.version))
    }

    /// A proposal that came to nothing.
    func stepsToWithdraw() throws(Failure) -> [Step] {
        try stepsToForgetNext(upTo: .max)
    }

    private func stepsToPointTo(_ configuration: QuorumConfiguration, clientPort: Int) throws(Failure) -> [Step] {
        let dynamicFile = dynamicFile(of: configuration)
        let own = configuration.member(me)
        let text = StaticFileText(
            dynamicFile: dynamicFile,
            erasesClientAddress: own?.client != nil,
            clientPort: own?.client == nil ? clientPort : nil
        )
        guard let former = try read(staticFile) else {
            throw Failure(staticFile, UnreadableFile(reason: "there is no such file"))
        }
        let rewritten: (bytes: [UInt8], isFirst: Bool)
        do throws(UnreadableFile) {
            rewritten = try text.rewritten(former)
        } catch {
            throw Failure(staticFile, error)
        }
        var steps = [Step.write(dynamicFile, Array(configuration.dynamicFileText().utf8))]
        if rewritten.isFirst { steps.append(.write(formerFile, former)) }
        // A link stays one, and what it leads to changes.
        if rewritten.bytes != former { steps.append(.write(FileReplacement.target(of: staticFile), rewritten.bytes)) }
        return steps
    }

    private func stepsToForgetNext(upTo version: Int64) throws(Failure) -> [Step] {
        guard let bytes = try read(nextFile) else { return [] }
        let next = try? QuorumConfiguration.parse(utf8: bytes)
        return (next?.version ?? 0) <= version ? [.remove(nextFile)] : []
    }

    private func read(_ path: String) throws(Failure) -> [UInt8]? {
        do throws(FileReplacement.Trouble) { return try FileReplacement.read(path) } catch { throw Failure(error) }
    }

    func carryOut(_ step: Step) throws(Failure) {
        do throws(FileReplacement.Trouble) {
            switch step {
            case .write(let path, let bytes): try FileReplacement.write(bytes, to: path, like: staticFile)
            case .remove(let path): try FileReplacement.remove(path)
            }
        } catch {
            throw Failure(error)
        }
    }
}
