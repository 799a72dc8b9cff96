import Glibc

/// What libFuzzer calls: one executable holds all targets, and the environment names the one to run.
///
/// Built by scripts/fuzz, never by the package: `-sanitize=fuzzer` brings its own `main`.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    target(UnsafeRawBufferPointer(start: bytes, count: count))
    return 0
}

private let target: @Sendable (UnsafeRawBufferPointer) -> Void = {
    let name = getenv("AVIARY_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    switch name {
    case "frames": return { FrameTarget.run($0) }
    case "handshakes": return { HandshakeTarget.run($0) }
    case "logs": return { LogTarget.run($0) }
    case "snapshots": return { SnapshotTarget.run($0) }
    case "configuration": return { ConfigurationTarget.run($0) }
    case "quorum": return { QuorumTarget.run($0) }
    default:
        print("AVIARY_FUZZ_TARGET is \"\(name)\"; there are frames, handshakes, logs, snapshots, configuration, quorum")
        exit(2)
    }
}()

/// Stops the process, so that the input counts as a crash: what a target expects of any input.
func expect(_ condition: Bool, _ what: @autoclosure () -> String, line: UInt = #line, file: StaticString = #fileID) {
    if !condition { fatalError("\(what())", file: file, line: line) }
}
