#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A pipe within this process; neither end is passed on to a child unless it is asked for.
struct Pipe {
    let reading: CInt
    let writing: CInt

    init() throws(DevError) {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { throw DevError("cannot make a pipe: \(String(cString: strerror(errno)))") }
        // Above what children call theirs, so that one can be put in the other's place.
        reading = Pipe.lift(ends[0])
        writing = Pipe.lift(ends[1])
        guard reading >= 0, writing >= 0 else {
            throw DevError("cannot make a pipe: \(String(cString: strerror(errno)))")
        }
    }

    /// The same thing under a number that no child needs; the old number is closed.
    static func lift(_ descriptor: CInt) -> CInt {
        let lifted = fcntl(descriptor, F_DUPFD_CLOEXEC, 10)
        close(descriptor)
        return lifted
    }
}
