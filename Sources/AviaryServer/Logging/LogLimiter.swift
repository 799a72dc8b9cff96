/// Lets the first of many equal messages through, so that whoever knocks ten thousand times does not fill a disk.
struct LogLimiter<Key: Hashable> {
    /// How long a key keeps silent after a message.
    let intervalMicroseconds: Int64
    /// Keys that are remembered; above it all are forgotten, which costs some repeated lines and no memory.
    let capacity: Int
    private var last: [Key: Int64] = [:]

    init(interval: Duration, capacity: Int = 1024) {
        intervalMicroseconds = interval.microseconds
        self.capacity = capacity
    }

    mutating func allows(_ key: Key, at microseconds: Int64) -> Bool {
        if let time = last[key], microseconds - time < intervalMicroseconds { return false }
        if last.count >= capacity { last.removeAll(keepingCapacity: true) }
        last[key] = microseconds
        return true
    }
}
