/// How the text of a value is understood, and how to say so to the person who wrote another one.
struct ValueKind<Value: Sendable>: Sendable {
    /// Completes the sentence "allowed is …".
    var allowed: String
    /// `nil` for text that is not allowed.
    var parse: @Sendable (String) -> Value?

    func map<Other>(_ transform: @escaping @Sendable (Value) -> Other) -> ValueKind<Other> {
        ValueKind<Other>(allowed: allowed) { [parse] text in parse(text).map(transform) }
    }
}

extension ValueKind where Value == Bool {
    /// `true` or `false` in any case.
    ///
    /// Apache refuses anything else for the keys that it parses itself, and takes anything else for false where the key
    /// becomes a property. `enforceQuota=yes` is a mistake in both cases, so we refuse both.
    static var boolean: ValueKind {
        ValueKind(allowed: "true or false") { text in
            switch text.lowercased() {
            case "true": true
            case "false": false
            default: nil
            }
        }
    }

    /// `yes` or `no`, as `forceSync`, `skipACL` and `leaderServes` want it.
    static var yesNo: ValueKind {
        ValueKind(allowed: "yes or no") { text in
            switch text {
            case "yes": true
            case "no": false
            default: nil
            }
        }
    }
}

extension ValueKind where Value == Int {
    /// A number in decimal digits with an optional sign (`Integer.parseInt`).
    static func integer(_ range: ClosedRange<Int> = int32, unit: String? = nil) -> ValueKind {
        ValueKind(allowed: describe(range, unit: unit)) { text in
            guard let value = parseDecimal(text), range.contains(value) else { return nil }
            return value
        }
    }

    /// A number of a key that Apache knows as a property: decimal, hexadecimal with `0x` or `#`, octal with a leading 0
    /// (`Integer.decode`). `jute.maxbuffer=0x9fffff` is how people write it.
    static func property(_ range: ClosedRange<Int> = int32, unit: String? = nil) -> ValueKind {
        ValueKind(allowed: describe(range, unit: unit)) { text in
            guard let value = decode(text), range.contains(value) else { return nil }
            return value
        }
    }

    static var int32: ClosedRange<Int> { Int(Int32.min)...Int(Int32.max) }
    /// Not negative, and within what Java's `int` holds.
    static var natural: ClosedRange<Int> { 0...Int(Int32.max) }
    static var positive: ClosedRange<Int> { 1...Int(Int32.max) }

    private static func describe(_ range: ClosedRange<Int>, unit: String?) -> String {
        "a whole number from \(range.lowerBound) to \(range.upperBound)" + (unit.map { " (\($0))" } ?? "")
    }

    private static func parseDecimal(_ text: String) -> Int? {
        // Int(_:) is as strict as parseInt here: a sign and ASCII digits, nothing around them.
        Int(text)
    }

    private static func decode(_ text: String) -> Int? {
        var digits = text[...]
        var isNegative = false
        if let sign = digits.first, sign == "-" || sign == "+" {
            isNegative = sign == "-"
            digits = digits.dropFirst()
        }
        var radix = 10
        if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
            (radix, digits) = (16, digits.dropFirst(2))
        } else if digits.hasPrefix("#") {
            (radix, digits) = (16, digits.dropFirst())
        } else if digits.hasPrefix("0"), digits.count > 1 {
            (radix, digits) = (8, digits.dropFirst())
        }
        guard let first = digits.first, first != "-", first != "+" else { return nil }
        return Int((isNegative ? "-" : "") + digits, radix: radix)
    }
}

extension ValueKind where Value == Double {
    /// A fraction such as 0.02.
    static func real(_ range: ClosedRange<Double>) -> ValueKind {
        ValueKind(allowed: "a number from \(range.lowerBound) to \(range.upperBound)") { text in
            guard let value = Double(text), range.contains(value) else { return nil }
            return value
        }
    }
}

extension ValueKind where Value == Duration {
    /// Milliseconds of a key that Apache parses itself.
    static func milliseconds(_ range: ClosedRange<Int>) -> ValueKind {
        ValueKind<Int>.integer(range, unit: "milliseconds").map { .milliseconds($0) }
    }

    /// Milliseconds of a key that Apache knows as a property.
    static func propertyMilliseconds(_ range: ClosedRange<Int>) -> ValueKind {
        ValueKind<Int>.property(range, unit: "milliseconds").map { .milliseconds($0) }
    }

    /// Hours, or a number with one of the units ms, s, m, h, d; zero or less is off.
    static var purgeInterval: ValueKind {
        ValueKind(
            allowed: "a number of hours, or a number followed by ms, s, m, h or d (0 is off), at most 100 years"
        ) { text in
            let units: [(suffix: String, milliseconds: Int)] = [
                ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("", 3_600_000),
            ]
            let lowered = text.lowercased()
            guard let unit = units.first(where: { lowered.hasSuffix($0.suffix) }),
                let count = Int(lowered.dropLast(unit.suffix.count))
            else { return nil }
            let (milliseconds, overflow) = count.multipliedReportingOverflow(by: unit.milliseconds)
            let century = 100 * 365 * 86_400_000
            guard !overflow, milliseconds <= century else { return nil }
            return .milliseconds(milliseconds)
        }
    }
}

extension ValueKind where Value == String {
    /// Anything, but not nothing.
    static var text: ValueKind {
        ValueKind(allowed: "a value, and not an empty one") { $0.isEmpty ? nil : $0 }
    }

    /// Anything.
    static var anything: ValueKind {
        ValueKind(allowed: "any text") { $0 }
    }

    static var path: ValueKind {
        ValueKind(allowed: "a path") { text in
            text.isEmpty || text.utf8.contains(0) ? nil : text
        }
    }

    /// One of a few words, in any case; the result is the word as it is given here.
    static func choice(_ words: String...) -> ValueKind {
        ValueKind(allowed: words.joined(separator: " or ")) { text in
            words.first { $0.lowercased() == text.lowercased() }
        }
    }
}

extension ValueKind where Value == [String] {
    /// Words separated by commas, without the spaces around them; an empty value is no words.
    static var words: ValueKind {
        ValueKind(allowed: "words separated by commas") { text in
            text.split(separator: ",").map(\.trimmed).filter { !$0.isEmpty }
        }
    }
}
