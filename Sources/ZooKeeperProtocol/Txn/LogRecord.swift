/// A transaction to be appended to the log: which bytes of a batch it is.
@frozen
package struct LogRecord: Equatable, Sendable {
    package let zxid: Zxid
    package let range: Range<Int>

    @inlinable
    package init(zxid: Zxid, range: Range<Int>) {
        self.zxid = zxid
        self.range = range
    }
}
