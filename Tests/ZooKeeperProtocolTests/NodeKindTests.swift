import Testing
import ZooKeeperProtocol

@Suite("What the stored owner says a znode is (docs/protocol/client-protocol.md section 7.3)")
struct NodeKindTests {
    private func kind(_ owner: UInt64, extended: Bool = true, emulate: Bool = false) -> NodeKind {
        NodeKind(owner: Int64(bitPattern: owner), extendedTypes: extended, emulate353: emulate)
    }

    @Test("Without extended types only containers are not what they seem")
    func plain() {
        #expect(kind(0, extended: false) == .persistent)
        #expect(kind(0x8000_0000_0000_0000, extended: false) == .container)
        #expect(kind(0x0100_0000_0000_0001, extended: false) == .ephemeral(SessionID(0x0100_0000_0000_0001)))
        #expect(kind(0xff00_0000_0000_0064, extended: false) == .ephemeral(SessionID(-0xff_ffff_ffff_ff9c)))
    }

    @Test("With extended types the highest byte 0xff with feature 0 is a time to live")
    func extended() {
        #expect(kind(0xff00_0000_0000_0001) == .ttl(milliseconds: 1))
        #expect(kind(0xff00_00ff_ffff_ffff) == .ttl(milliseconds: NodeKind.maxTTLMilliseconds))
        #expect(kind(0xfe00_0000_0000_0001) == .ephemeral(SessionID(-0x1ff_ffff_ffff_ffff)))
        #expect(kind(0x8000_0000_0000_0000) == .container)
        #expect(kind(0x8000_0000_0000_0000, emulate: true) == .container)
    }

    @Test("Other negative values are nodes of 3.5.3 when that is emulated")
    func emulation() {
        #expect(kind(0x8000_0000_0000_0005, emulate: true) == .ttl(milliseconds: 5))
        #expect(kind(0x8000_0000_0000_0005) == .ephemeral(SessionID(-0x7fff_ffff_ffff_fffb)))
        #expect(kind(0xff00_0000_0000_0005, emulate: true) == .ttl(milliseconds: 5))
    }

    @Test(
        "What is stored is read back",
        arguments: [
            NodeKind.persistent, .container, .ephemeral(SessionID(7)), .ttl(milliseconds: 1),
            .ttl(milliseconds: NodeKind.maxTTLMilliseconds),
        ]
    )
    func roundTrip(kind: NodeKind) {
        #expect(NodeKind(owner: kind.owner, extendedTypes: true) == kind)
    }
}
