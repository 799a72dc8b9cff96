/// What time it is: measured by the shell, once a turn.
package struct Now: Sendable {
    /// Since 1970; only for what people and stats see.
    package var wallMilliseconds: Int64
    /// Since an unknown moment, never backwards; for everything that waits.
    package var monotonicMicroseconds: Int64

    package init(wallMilliseconds: Int64, monotonicMicroseconds: Int64) {
        self.wallMilliseconds = wallMilliseconds
        self.monotonicMicroseconds = monotonicMicroseconds
    }

    @inlinable
    package var monotonicMilliseconds: Int64 { monotonicMicroseconds / 1000 }
}
