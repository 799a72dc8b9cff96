/// Simulated time, and what is going to happen when.
///
/// Events of the same microsecond happen in the order in which they were scheduled, so that a run is the same wherever
/// it runs.
package final class VirtualTime<Event> {
    private struct Entry {
        var at: Int64
        var order: UInt64
        var event: Event

        func isBefore(_ other: Entry) -> Bool { at != other.at ? at < other.at : order < other.order }
    }

    /// Microseconds since the run began.
    package private(set) var microseconds: Int64 = 0
    private var heap: [Entry] = []
    private var scheduled: UInt64 = 0

    package init() {}

    package var count: Int { heap.count }

    /// - Parameter at: microseconds; what is past already happens now.
    package func schedule(_ event: Event, at: Int64) {
        scheduled += 1
        heap.append(Entry(at: max(at, microseconds), order: scheduled, event: event))
        rise(from: heap.count - 1)
    }

    package func schedule(_ event: Event, after delay: Int64) {
        schedule(event, at: microseconds + delay)
    }

    /// Goes to the next event, if it happens before `limit`; otherwise to `limit`.
    package func next(before limit: Int64) -> Event? {
        guard let first = heap.first, first.at < limit else {
            microseconds = max(microseconds, limit)
            return nil
        }
        microseconds = first.at
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink(from: 0)
        }
        return first.event
    }

    private func rise(from start: Int) {
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard heap[index].isBefore(heap[parent]) else { return }
            heap.swapAt(index, parent)
            index = parent
        }
    }

    private func sink(from start: Int) {
        var index = start
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < heap.count && heap[child].isBefore(heap[least]) { least = child }
            guard least != index else { return }
            heap.swapAt(index, least)
            index = least
        }
    }
}
