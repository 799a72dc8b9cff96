import AviaryCore
import ZooKeeperProtocol

/// What clients send: up to four connections at once, many frames, a disk that waits, time that passes, sessions that
/// move, and in between somebody who asks by a four-letter word how things stand.
///
/// Input: a byte of options, then steps: a byte (two bits for the connection, the rest for what happens), and what that
/// needs.
enum FrameTarget {
    static func run(_ bytes: UnsafeRawBufferPointer) {
        var input = FuzzInput(bytes)
        let flags = input.byte()
        let server = FuzzServer { FrameTarget.configure(&$0, flags) }
        defer { server.close() }
        var slots = (0..<4).map { _ in server.connect() }
        let honest = server.connect(timeout: 40_000)
        var writer = JuteWriter()
        var isWriting = false
        while !input.isEmpty {
            let step = input.byte()
            let slot = Int(step & 3)
            switch step >> 2 {
            case 0:
                server.isDiskHeld.toggle()
                if !server.isDiskHeld { server.carryOut() }
            case 1: server.advance(milliseconds: Int64(input.byte()) * 50)
            case 2:
                server.disconnect(slots[slot])
                slots[slot] = server.connect()
            case 3:
                // The session of another connection, with its password.
                let other = slots[Int(input.byte() & 3)]
                server.disconnect(slots[slot])
                slots[slot] = server.connect(session: other.session, password: other.password)
            case 4:
                if !isWriting { _ = server.core.beginSnapshot() }
                isWriting = server.core.continueSnapshot(maxBytes: 200, into: &writer)
                writer.removeAll()
            case 5:
                // As it is: the length is the input's.
                server.receive(input.bytes(input.length()), on: slots[slot])
            case 6:
                let room: [LogRoom] = [.plenty, .low, .exhausted, .plenty]
                server.core.setLogRoom(room[slot], at: server.now, into: &server.output)
                server.carryOut()
            case 63:
                let words = FourLetterWord.allCases
                let word = words[Int(input.byte()) % words.count]
                server.answer(word, argument: UnsafeRawBufferPointer(start: nil, count: 0))
            default:
                server.send([UInt8](input.bytes(input.length())), on: slots[slot])
            }
            if slots[slot].isClosed { slots[slot] = server.connect() }
        }
        server.core.setLogRoom(.plenty, at: server.now, into: &server.output)
        server.settle()
        if !honest.isClosed {
            server.request(.ping, xid: -2, on: honest)
            expect(honest.lastReplyXid == -2 || honest.isClosed, "a client that did nothing is not answered")
        }
        server.replay()
        server.advance(milliseconds: 50_000)
        server.settle()
    }

    private static func configure(_ options: inout CoreOptions, _ flags: UInt8) {
        options.extendedTypes = flags & 1 != 0
        options.enforceQuota = flags & 2 != 0
        options.skipACL = flags & 4 != 0
        options.emulate353 = flags & 8 != 0
        options.closeSessionTxn = flags & 16 != 0
        options.requiredAuthSchemes = flags & 32 != 0 ? ["digest"] : nil
        options.throttledOpWaitMilliseconds = flags & 64 != 0 ? 100 : 0
        options.ensembleAuth = flags & 128 != 0 ? CoreOptions.EnsembleAuth(names: ["a"]) : nil
    }
}
