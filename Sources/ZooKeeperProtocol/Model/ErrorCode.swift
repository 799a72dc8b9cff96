/// What a reply header says went wrong (docs/protocol/client-protocol.md section 5).
///
/// A struct rather than an enum: a peer may send codes that we do not know.
@frozen
package struct ErrorCode: Hashable, Error, Sendable {
    package let rawValue: Int32

    @inlinable
    package init(_ rawValue: Int32) { self.rawValue = rawValue }

    package static let ok = ErrorCode(0)
    package static let systemError = ErrorCode(-1)
    package static let runtimeInconsistency = ErrorCode(-2)
    package static let marshallingError = ErrorCode(-5)
    package static let unimplemented = ErrorCode(-6)
    package static let badArguments = ErrorCode(-8)
    package static let unknownSession = ErrorCode(-12)
    package static let newConfigNoQuorum = ErrorCode(-13)
    package static let reconfigInProgress = ErrorCode(-14)
    package static let noNode = ErrorCode(-101)
    package static let noAuth = ErrorCode(-102)
    package static let badVersion = ErrorCode(-103)
    package static let noChildrenForEphemerals = ErrorCode(-108)
    package static let nodeExists = ErrorCode(-110)
    package static let notEmpty = ErrorCode(-111)
    package static let sessionExpired = ErrorCode(-112)
    package static let invalidACL = ErrorCode(-114)
    package static let authFailed = ErrorCode(-115)
    package static let sessionMoved = ErrorCode(-118)
    package static let notReadOnly = ErrorCode(-119)
    package static let ephemeralOnLocalSession = ErrorCode(-120)
    package static let noWatcher = ErrorCode(-121)
    package static let reconfigDisabled = ErrorCode(-123)
    package static let sessionClosedRequireAuth = ErrorCode(-124)
    package static let quotaExceeded = ErrorCode(-125)
    package static let throttledOp = ErrorCode(-127)
}
