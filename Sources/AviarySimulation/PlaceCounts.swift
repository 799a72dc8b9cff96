/// How often a run came by the places that matter: a check that is never reached proves nothing.
package struct PlaceCounts<Place>: Sendable
where Place: CaseIterable & RawRepresentable & Hashable & Sendable, Place.RawValue == String {
    private var values: [Place: Int] = [:]

    package init() {}

    package subscript(place: Place) -> Int {
        get { values[place] ?? 0 }
        set { values[place] = newValue }
    }

    package mutating func add(_ other: PlaceCounts) {
        for (place, value) in other.values { values[place, default: 0] += value }
    }

    /// In words, in the order in which the places are listed.
    package var lines: [(text: String, count: Int)] { Place.allCases.map { ($0.rawValue, self[$0]) } }
}
