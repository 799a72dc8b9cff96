import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Addresses in ACLs")
struct AddressTests {
    /// Whether a list with this pattern is taken, and lets a client from an address in.
    private func outcome(_ pattern: String, from address: String) -> (taken: Bool, letIn: Bool) {
        let harness = CoreHarness()
        let owner = harness.connect()
        let taken = owner.create("/a", acl: [ACL(31, "ip", pattern)]).error == .ok
        let client = harness.connect(address: address)
        return (taken, client.read(.getData, "/a").error == .ok)
    }

    @Test(
        "Let in",
        arguments: [
            ("10.1.2.3", "10.1.2.3"), ("10.0.0.0/8", "10.255.0.1"), ("10.1.2.3/31", "10.1.2.2"),
            ("0.0.0.0/0", "203.0.113.9"), ("::1", "::1"), ("::1", "0:0:0:0:0:0:0:1"),
            ("2001:db8::/32", "2001:db8:7::9"),
            ("::/0", "fe80::1%eth0"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("1:2:3:4:5:6:7:8/127", "1:2:3:4:5:6:7:9"),
            ("1::8", "1:0:0:0:0:0:0:8"), ("2001:DB8::AB", "2001:db8::ab"), ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"), ("::1.2.3.4", "::102:304"), ("1::", "1::"),
        ]
    )
    func letIn(pattern: String, address: String) {
        let outcome = outcome(pattern, from: address)
        #expect(outcome.taken)
        #expect(outcome.letIn)
    }

    @Test(
        "Kept out",
        arguments: [
            ("10.1.2.3", "10.1.2.4"), ("10.0.0.0/8", "11.0.0.0"), ("10.1.2.3/31", "10.1.2.4"), ("::1", "::2"),
            ("0.0.0.0/0", "::1"), ("::/0", "10.0.0.1"), ("1:2:3:4:5:6:7:8/64", "1:2:3:5:5:6:7:8"),
            ("2001:db8::/33", "2001:db8:8000::"), ("::1", "localhost"),
        ]
    )
    func keptOut(pattern: String, address: String) {
        let outcome = outcome(pattern, from: address)
        #expect(outcome.taken)
        #expect(!outcome.letIn)
    }

    @Test(
        "Refused",
        arguments: [
            "", "/", "/8", "10.1.2", "10.1.2.3.4", "10.1.2.256", "10.1.2.3/33", "10.1.2.3/", "10.1.2.3/-1",
            "10.1.2.3/+8", "10.1.2.3/8/8", "10..2.3", "10.1.2.", ".1.2.3", "+1.2.3.4", "0010.1.2.3", "host", ":", ":1",
            "1:", ":::", "1:::2", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1/129",
            "12345::", "g::", "::ffff:1.2.3.4", "::ffff:102:304", "1.2.3.4::", "::1.2.3", "1:2:3:4:5:6:7:1.2.3.4", "%",
            "99999999999999999999999999.1.1.1", "::1/99999999999999999999999999",
        ]
    )
    func refused(pattern: String) {
        #expect(!outcome(pattern, from: "10.1.2.3").taken)
    }
}
