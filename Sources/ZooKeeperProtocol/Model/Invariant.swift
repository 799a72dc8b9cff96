/// Stops the process when a fact that our own code promised does not hold.
///
/// `precondition` loses its text in optimized builds. Never put this on anything that comes from outside the process:
/// bytes of a client, a peer or a file that do not fit are an error value, not a stop.
@inlinable
package func invariant(
    _ condition: @autoclosure () -> Bool,
    _ message: @autoclosure () -> String,
    file: StaticString = #fileID,
    line: UInt = #line
) {
    if _slowPath(!condition()) { fatalError("invariant: \(message())", file: file, line: line) }
}
