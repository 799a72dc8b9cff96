import Testing
import ZooKeeperProtocol

/// docs/protocol/quorum-protocol.md section 3.
@Suite("Quorums")
struct QuorumTests {
    private func ids(_ numbers: Int64...) -> Set<ServerID> { Set(numbers.map { ServerID($0) }) }

    private func configuration(_ text: String) throws -> QuorumConfiguration {
        try QuorumConfiguration.parse(text.replacing(" ", with: "\n"))
    }

    @Test("Without groups more than half of the voters are one; nobody else counts")
    func majority() throws {
        let four = try configuration(
            "server.1=a:1:2 server.2=b:1:2 server.3=c:1:2 server.4=d:1:2 server.5=e:1:2:observer"
        )
        #expect(four.isQuorum(ids(1, 2, 4)))
        #expect(!four.isQuorum(ids(1, 2)))
        #expect(!four.isQuorum(ids(1, 2, 5, 77)))
        #expect(four.weight(of: ServerID(4)) == 1 && four.weight(of: ServerID(77)) == 1)
        #expect(four.isVoter(ServerID(4)) && !four.isVoter(ServerID(5)) && !four.isVoter(.none))
    }

    @Test("Without voters there is none")
    func nobody() throws {
        let empty = try QuorumConfiguration(members: [])
        #expect(!empty.isQuorum([]))
        #expect(!empty.isQuorum(ids(1, 2, 3)))
        #expect(empty.quorumZxid([(ServerID(1), Zxid(5))]) == .zero)
        #expect(!QuorumConfiguration.isQuorum(inEach: []) { _ in true })
    }

    private let grouped = (1...7).map { "server.\($0)=h\($0):1:2" }.joined(separator: " ")

    @Test("With groups the weight decides in each, and most groups decide")
    func hierarchical() throws {
        let nine = try configuration(grouped + " group.1=1:2:3 group.2=4:5 group.3=6:7 weight.7=0 weight.4=3")
        // 1 and 2 carry group 1; 4 carries group 2 alone; 6 carries group 3 alone.
        #expect(nine.isQuorum(ids(1, 2, 4)))
        #expect(nine.isQuorum(ids(4, 6)))
        #expect(!nine.isQuorum(ids(1, 2, 5, 7)))
        #expect(!nine.isQuorum(ids(1, 2, 3)))
        #expect(nine.weight(of: ServerID(4)) == 3 && nine.weight(of: ServerID(7)) == 0)
        #expect(nine.weight(of: ServerID(1)) == 1 && nine.weight(of: ServerID(77)) == 0)
    }

    @Test("A group without weight does not count")
    func weightless() throws {
        let configuration = try configuration(
            grouped + " group.1=1:2:3 group.2=4:5 group.3=6:7 weight.6=0 weight.7=0"
        )
        #expect(configuration.isQuorum(ids(1, 2, 4, 5)))
        #expect(!configuration.isQuorum(ids(1, 2, 6, 7)))
        let none = try self.configuration("server.1=a:1:2 group.1=1 weight.1=0")
        #expect(!none.isQuorum(ids(1)))
    }

    @Test("While two configurations are in force both are asked")
    func joint() throws {
        let old = try configuration("server.1=a:1:2 server.2=b:1:2 server.3=c:1:2")
        let new = try configuration("server.3=c:1:2 server.4=d:1:2 server.5=e:1:2")
        func isQuorum(_ members: Set<ServerID>) -> Bool {
            QuorumConfiguration.isQuorum(inEach: [old, new]) { members.contains($0) }
        }
        #expect(!isQuorum(ids(1, 2, 3)))
        #expect(!isQuorum(ids(3, 4, 5)))
        #expect(isQuorum(ids(1, 3, 4)))
    }

    @Test("A server that is there twice counts once, and one that is missing as nothing")
    func quorumZxid() throws {
        let three = try configuration("server.1=a:1:2 server.2=b:1:2 server.3=c:1:2 server.4=d:1:2:observer")
        let one = ServerID(1)
        #expect(three.quorumZxid([(one, Zxid(9)), (one, Zxid(7)), (ServerID(4), Zxid(9))]) == .zero)
        #expect(three.quorumZxid([(one, Zxid(7)), (one, Zxid(9)), (ServerID(2), Zxid(8))]) == Zxid(8))
        #expect(three.quorumZxid([(one, Zxid(-1)), (ServerID(2), Zxid(-1)), (ServerID(3), Zxid(-1))]) == .zero)
    }

    @Test("A second implementation agrees, for every set of servers", arguments: 0..<100)
    func model(seed: UInt64) throws {
        var random = SeededRandom(seed + 1)
        let (model, configuration) = try QuorumModel.random(&random)
        let all = (1...10).map { Int64($0) }
        for bits in 0..<1024 {
            let chosen = Set(all.filter { bits >> ($0 - 1) & 1 == 1 })
            let isQuorum = configuration.isQuorum(Set(chosen.map { ServerID($0) }))
            #expect(isQuorum == model.isQuorum(chosen), "seed \(seed): \(configuration.text), \(chosen)")
            // What makes it safe: no two quorums without a server in common.
            if isQuorum {
                let others = Set(all).subtracting(chosen).map { ServerID($0) }
                #expect(!configuration.isQuorum(Set(others)), "seed \(seed): \(configuration.text), \(chosen)")
            }
        }
    }

    @Test("A second implementation agrees on what a quorum has acknowledged", arguments: 0..<100)
    func zxidModel(seed: UInt64) throws {
        var random = SeededRandom(seed + 1)
        let (model, configuration) = try QuorumModel.random(&random)
        for _ in 0..<50 {
            let acked = (1...10).filter { _ in random.below(6) > 0 }.map { number in
                (ServerID(Int64(number)), Zxid(Int64(random.below(6))))
            }
            #expect(
                configuration.quorumZxid(acked) == model.quorumZxid(acked),
                "seed \(seed): \(configuration.text), \(acked)"
            )
        }
    }

    @Test("Groups have rules")
    func rules() {
        func problem(_ text: String) -> String? {
            do {
                _ = try configuration("server.1=a:1:2 server.2=b:1:2 server.3=c:1:2:observer " + text)
                return nil
            } catch let error as MalformedConfiguration {
                return error.text
            } catch {
                return "\(error)"
            }
        }
        #expect(problem("group.1=1:2") == nil)
        #expect(problem("group.1=1:2:3 weight.3=1") == nil)
        #expect(problem("weight.9=1 group.1=1 group.2=2") == nil)
        #expect(problem("group.1=1") == "server.2 is a participant, but in no group")
        #expect(problem("weight.1=1") == "server.1 is a participant, but in no group")
        #expect(problem("group.1=1:2 group.2=2") == "server 2 is in more than one group, or twice in one")
        #expect(problem("group.1=1:2:2") == "server 2 is in more than one group, or twice in one")
        #expect(problem("group.1=1:2:3") == "server 3 is in a group, but is no participant and has no weight")
        #expect(problem("group.1=1 group.01=2") == "group.1 is there twice")
        #expect(problem("group.1=1:2 weight.1=-1") == "weight.1 is not a number from 0 to 2147483647")
        #expect(problem("group.1=1:2 weight.1=2147483648") == "weight.1 is not a number from 0 to 2147483647")
        #expect(problem("group.1=1:2 weight.1=1 weight.01=1") == "weight.1 is there twice")
        #expect(problem("server.02=d:1:2") == "server.2 is there twice")
    }
}
