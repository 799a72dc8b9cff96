import Foundation
import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite(.enabled(if: ProcessInfo.processInfo.environment["ZAB_TRACE"] != nil))
struct DebugTests {
    @Test func trace() throws {
        let seed = UInt64(ProcessInfo.processInfo.environment["ZAB_TRACE"]!)!
        let chaos = try Chaos(seed: seed)
        let e = chaos.ensemble
        e.trace = { from, kind, zxid, to in
            if kind != .ping { print(e.time, from, "->", to, kind, zxid) }
        }
        e.noteTrace = { print(e.time, $0, $1.message, $1.metadata) }
        e.callTrace = { print(e.time, $0, $1) }
        try chaos.run()
    }
}
