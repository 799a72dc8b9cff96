import Testing

@testable import aviary

@Suite("What `aviary dev` tells of leaders and followers")
struct RoleReportTests {
    /// Three servers, what was told of them, and a clock that the test turns.
    private struct Trial {
        var servers: [DevServer]
        var report = RoleReport()
        var now: ContinuousClock.Instant

        init(_ count: Int) {
            let now = ContinuousClock.now
            self.now = now
            servers = (1...count).map { number in
                var server = DevServer(number: number, nextProbe: now)
                server.process = .running(ChildProcess(id: 1))
                return server
            }
        }

        mutating func tell(after seconds: Double = 0.1) -> [String] {
            now += .seconds(seconds)
            return report.lines(servers, majority: servers.count / 2 + 1, now: now)
        }

        /// Everybody follows `leader`.
        mutating func form(leader: Int, epoch: UInt64) {
            for index in servers.indices { become(.follower, index + 1, epoch) }
            become(.leader, leader, epoch)
        }

        mutating func become(_ role: Standing.Role, _ number: Int, _ epoch: UInt64) {
            servers[number - 1].standing = .serving(role, epoch: epoch)
        }

        mutating func say(_ standing: Standing, _ number: Int) { servers[number - 1].standing = standing }

        mutating func end(_ number: Int) {
            servers[number - 1].process = .ended
            servers[number - 1].standing = .away
        }
    }

    @Test("The first leader and its followers are told once")
    func formation() {
        var trial = Trial(3)
        #expect(trial.tell() == [])
        trial.form(leader: 2, epoch: 1)
        #expect(
            trial.tell() == [
                "server 2 leads now, epoch 1", "server 1 follows server 2", "server 3 follows server 2",
            ]
        )
        #expect(trial.tell() == [])
        #expect(trial.report.leader == RoleReport.Leader(number: 2, epoch: 1))
    }

    @Test("Another leader is told, and of those that go over to it within a moment nothing")
    func election() {
        var trial = Trial(3)
        trial.form(leader: 3, epoch: 1)
        _ = trial.tell()
        trial.end(3)
        trial.say(.looking, 1)
        trial.say(.looking, 2)
        #expect(trial.tell() == [])
        trial.become(.leader, 2, 2)
        #expect(trial.tell() == ["server 2 leads now, epoch 2"])
        trial.become(.follower, 1, 2)
        #expect(trial.tell() == [])
        // The former leader believes for a moment that it still is one.
        trial.servers[2].process = .running(ChildProcess(id: 1))
        trial.become(.leader, 3, 1)
        #expect(trial.tell() == [])
        trial.become(.follower, 3, 2)
        #expect(trial.tell() == ["server 3 follows server 2"])
    }

    @Test("The same server in another epoch leads anew")
    func sameLeader() {
        var trial = Trial(3)
        trial.form(leader: 1, epoch: 1)
        _ = trial.tell()
        trial.form(leader: 1, epoch: 2)
        #expect(trial.tell() == ["server 1 leads now, epoch 2"])
    }

    @Test("Who comes back and was replaced is no leader, though the present one is not to be seen")
    func replaced() {
        var trial = Trial(3)
        trial.form(leader: 2, epoch: 2)
        _ = trial.tell()
        trial.servers[1].process = .paused(ChildProcess(id: 1))
        trial.form(leader: 3, epoch: 3)
        #expect(trial.tell() == ["server 3 leads now, epoch 3"])
        trial.servers[2].process = .paused(ChildProcess(id: 1))
        trial.say(.looking, 1)
        trial.servers[1].process = .running(ChildProcess(id: 1))
        trial.become(.leader, 2, 2)
        #expect(!trial.tell().contains { $0.contains("leads now") })
        trial.become(.leader, 2, 4)
        #expect(trial.tell().contains("server 2 leads now, epoch 4"))
    }

    @Test("Without a majority nobody serves, which is told at once and once")
    func noMajority() {
        var trial = Trial(3)
        trial.form(leader: 1, epoch: 1)
        _ = trial.tell()
        trial.end(1)
        trial.servers[1].process = .paused(ChildProcess(id: 1))
        trial.say(.looking, 3)
        #expect(trial.tell() == ["nobody serves: 1 of 3 servers run, and 2 are needed"])
        #expect(trial.tell(after: 60) == [])
        trial.servers[1].process = .running(ChildProcess(id: 1))
        trial.become(.leader, 2, 2)
        trial.become(.follower, 3, 2)
        #expect(trial.tell() == ["server 2 leads now, epoch 2", "server 3 follows server 2"])
    }

    @Test("A majority without a leader is told when that takes longer than an election")
    func noLeader() {
        var trial = Trial(3)
        trial.form(leader: 1, epoch: 1)
        _ = trial.tell()
        for number in 1...3 { trial.say(.looking, number) }
        #expect(trial.tell() == [])
        let silent = (1...3).map { "server \($0) serves nobody: it looks for the leader" }
        #expect(trial.tell(after: 2) == silent)
        #expect(trial.tell(after: 2) == ["nobody leads, and 3 of 3 servers run: their logs say why"])
        #expect(trial.tell(after: 60) == [])
    }

    @Test("Who serves nobody for more than a moment is told with what it does, and when it is back")
    func silent() {
        var trial = Trial(3)
        trial.form(leader: 1, epoch: 1)
        _ = trial.tell()
        trial.say(.hung, 2)
        trial.say(.looking, 3)
        #expect(trial.tell() == [])
        #expect(
            trial.tell(after: 2) == [
                "server 2 serves nobody: it hangs", "server 3 serves nobody: it looks for the leader",
            ]
        )
        #expect(trial.tell(after: 60) == [])
        trial.become(.follower, 2, 1)
        trial.become(.observer, 3, 1)
        #expect(trial.tell() == ["server 2 follows server 1", "server 3 follows server 1"])
    }

    @Test("A moment of silence is not told")
    func moment() {
        var trial = Trial(3)
        trial.form(leader: 1, epoch: 1)
        _ = trial.tell()
        for _ in 0..<5 {
            trial.say(.hung, 2)
            #expect(trial.tell() == [])
            #expect(trial.tell(after: 0.9) == [])
            trial.become(.follower, 2, 1)
            #expect(trial.tell() == [])
        }
    }

    @Test("Of two that say they lead the one of the later epoch does; who is paused or stopping does not")
    func twoLeaders() {
        var trial = Trial(3)
        trial.become(.leader, 1, 4)
        trial.become(.leader, 2, 5)
        #expect(RoleReport.leader(of: trial.servers) == RoleReport.Leader(number: 2, epoch: 5))
        trial.servers[1].process = .paused(ChildProcess(id: 1))
        #expect(RoleReport.leader(of: trial.servers) == RoleReport.Leader(number: 1, epoch: 4))
        trial.servers[0].process = .stopping(ChildProcess(id: 1), deadline: trial.now, thenStart: true)
        #expect(RoleReport.leader(of: trial.servers) == nil)
    }

    @Test("One that ended and was started by somebody else counts again")
    func startedElsewhere() {
        var trial = Trial(3)
        trial.form(leader: 1, epoch: 1)
        _ = trial.tell()
        trial.end(3)
        #expect(trial.tell() == [])
        trial.become(.follower, 3, 1)
        #expect(trial.tell() == ["server 3 follows server 1"])
    }

    @Test("One server alone serves, or does not")
    func alone() {
        var trial = Trial(1)
        trial.become(.standalone, 1, 0)
        #expect(trial.tell() == ["server 1 serves"])
        trial.say(.hung, 1)
        #expect(trial.tell() == [])
        #expect(trial.tell(after: 2) == ["server 1 serves nobody: it hangs"])
        trial.become(.standalone, 1, 0)
        #expect(trial.tell() == ["server 1 serves"])
    }
}
