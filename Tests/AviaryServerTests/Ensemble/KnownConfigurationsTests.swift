import Testing
import ZooKeeperProtocol

@testable import AviaryEnsemble

@Suite("What configuration a member starts with")
struct KnownConfigurationsTests {
    /// - Parameters:
    ///   - versions: of the file, of `.dynamic.next`, and of what the data holds.
    /// - Returns: the versions in force and proposed.
    private func known(
        _ versions: (file: Int64, next: Int64?, stored: Int64?),
        former: Int64? = nil,
        last: Int64,
        isReconfigEnabled: Bool = true
    ) throws -> (current: Int64, proposed: Int64?) {
        func configuration(_ version: Int64) throws -> QuorumConfiguration {
            try QuorumConfiguration.parse("server.1=a:1:2\nversion=" + String(version, radix: 16))
        }
        let known = KnownConfigurations(
            file: try configuration(versions.file),
            next: try versions.next.map(configuration),
            stored: try versions.stored.map { Array(try configuration($0).text.utf8) },
            former: try former.map { Array(try configuration($0).text.utf8) },
            lastZxid: Zxid(last),
            isReconfigEnabled: isReconfigEnabled
        )
        return (known.current.version, known.proposed?.version)
    }

    private static let (old, new, newer): (Int64, Int64, Int64) = (0x1_0000_0001, 0x2_0000_0005, 0x2_0000_0009)

    @Test("The file's, where nothing is newer")
    func file() throws {
        #expect(try known((Self.new, nil, Self.new), last: Self.newer) == (Self.new, nil))
        #expect(try known((Self.new, Self.old, Self.old), last: Self.newer) == (Self.new, nil))
        #expect(try known((0, nil, nil), last: 0) == (0, nil))
    }

    @Test("What the data holds, once a later epoch has it in its history")
    func stored() throws {
        #expect(try known((Self.old, nil, Self.new), last: 0x3_0000_0001) == (Self.new, nil))
        #expect(try known((Self.old, Self.new, Self.new), last: 0x3_0000_0001) == (Self.new, nil))
        #expect(try known((Self.old, Self.newer, Self.new), last: 0x3_0000_0001) == (Self.new, nil))
    }

    @Test("What the end of the log holds need not be committed: it is proposed")
    func end() throws {
        #expect(try known((Self.old, nil, Self.new), last: Self.new) == (Self.old, Self.new))
        #expect(try known((Self.old, nil, Self.new), last: Self.newer) == (Self.old, Self.new))
        #expect(try known((Self.old, Self.new, nil), last: Self.old) == (Self.old, Self.new))
        #expect(try known((Self.old, Self.new, Self.newer), last: Self.newer) == (Self.old, Self.newer))
    }

    @Test("What was proposed behind another shows that the other is in force")
    func twoChanges() throws {
        #expect(try known((Self.old, nil, Self.newer), former: Self.new, last: Self.newer) == (Self.new, Self.newer))
        #expect(try known((Self.new, nil, Self.newer), former: Self.old, last: Self.newer) == (Self.new, Self.newer))
        #expect(try known((Self.old, nil, Self.newer), former: 0, last: Self.newer) == (Self.old, Self.newer))
    }

    @Test("The file's alone, where nothing can be reconfigured")
    func disabled() throws {
        #expect(try known((0, Self.new, Self.new), last: 0x3_0000_0001, isReconfigEnabled: false) == (0, nil))
    }

    @Test("What cannot be read is passed over")
    func unreadable() throws {
        let file = try QuorumConfiguration.parse("server.1=a:1:2")
        for text in ["", "standalone", "server.1=a:1:2\nversion=x"] {
            let known = KnownConfigurations(
                file: file,
                next: nil,
                stored: Array(text.utf8),
                former: Array(text.utf8),
                lastZxid: Zxid(7),
                isReconfigEnabled: true
            )
            #expect(known.current.version == 0 && known.proposed == nil)
        }
    }
}
