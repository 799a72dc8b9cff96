/// One key of `zoo.cfg`: its spellings, what it may be set to, and what happens then.
package struct ConfigurationKey: Sendable {
    /// What this server does with a key.
    package enum Status: Sendable, Equatable {
        case honoured
        /// Validated, and then named once at start with the reason, which continues "accepted without effect: …".
        case withoutEffect(String)
        /// Refused where its value asks for something that does not exist; the reason continues "refused: …".
        case refused(String)
    }

    /// As Apache's `zoo.cfg` takes it, without the prefix `zookeeper.`, which is accepted in front of every name. A name
    /// that ends with a dot stands for every key that begins with it, such as `server.`.
    package var name: String

    /// Names from Apache's documentation that its `zoo.cfg` does not know.
    package var documentedNames: [String] = []

    /// Apache takes this only as a flag of the Java virtual machine, without the prefix.
    package var isFlagOnly = false

    /// The value must not be repeated in messages.
    package var isSecret = false

    /// What is allowed, in words.
    package var allowed: String

    /// The value without the key, as text.
    package var defaultValue: String

    package var status: Status

    /// Understands the value and enters it.
    var respond: @Sendable (_ value: String, _ draft: inout ConfigurationDraft) -> Response

    /// What became of one value.
    enum Response: Sendable, Equatable {
        case taken
        /// Taken, and without effect unless this server turns out to be a member of an ensemble.
        case takenForMembers
        /// Taken, and worth a warning at every start.
        case cautioned(String)
        /// Valid, and nothing follows from it.
        case withoutEffect(String)
        case refused(String)
        case invalid
    }

    package var isFamily: Bool { name.hasSuffix(".") }
}

extension ConfigurationKey {
    /// A key that the server acts on.
    ///
    /// - Parameter caution: what to warn of, for a value that weakens safety.
    static func honoured<Value>(
        _ name: String,
        _ kind: ValueKind<Value>,
        default defaultValue: String,
        documented: [String] = [],
        caution: @escaping @Sendable (Value) -> String? = { _ in nil },
        set: @escaping @Sendable (inout ConfigurationDraft, Value) -> Void
    ) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            documentedNames: documented,
            allowed: kind.allowed,
            defaultValue: defaultValue,
            status: .honoured
        ) { text, draft in
            guard let value = kind.parse(text) else { return .invalid }
            set(&draft, value)
            return caution(value).map(Response.cautioned) ?? .taken
        }
    }

    /// A key that a member of an ensemble acts on, and nobody else.
    ///
    /// - Parameter isDefault: true for values that change nothing, so that nothing has to be said where they have no effect.
    static func forMembers<Value>(
        _ name: String,
        _ kind: ValueKind<Value>,
        default defaultValue: String,
        caution: @escaping @Sendable (Value) -> String? = { _ in nil },
        unless isDefault: @escaping @Sendable (Value) -> Bool = { _ in false },
        set: @escaping @Sendable (inout EnsembleDraft, Value) -> Void
    ) -> ConfigurationKey {
        let allowed = kind.allowed
        return ConfigurationKey(name: name, allowed: allowed, defaultValue: defaultValue, status: .honoured) {
            text,
            draft in
            guard let value = kind.parse(text) else { return .invalid }
            set(&draft.ensemble, value)
            return caution(value).map(Response.cautioned) ?? (isDefault(value) ? .taken : .takenForMembers)
        }
    }

    /// A key that is accepted without effect.
    ///
    /// - Parameter isMet: true for values that describe what this server does anyway, so that nothing has to be said.
    static func ignored<Value>(
        _ name: String,
        _ kind: ValueKind<Value>,
        default defaultValue: String,
        documented: [String] = [],
        because reason: String,
        unless isMet: @escaping @Sendable (Value) -> Bool = { _ in false }
    ) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            documentedNames: documented,
            allowed: kind.allowed,
            defaultValue: defaultValue,
            status: .withoutEffect(reason)
        ) { text, _ in
            guard let value = kind.parse(text) else { return .invalid }
            return isMet(value) ? .taken : .withoutEffect(reason)
        }
    }

    /// A key that promises a protection which does not exist.
    ///
    /// - Parameter isHarmless: true for values that do not ask for the protection.
    static func refused<Value>(
        _ name: String,
        _ kind: ValueKind<Value>,
        default defaultValue: String,
        because reason: String,
        unless isHarmless: @escaping @Sendable (Value) -> Bool = { _ in false }
    ) -> ConfigurationKey {
        ConfigurationKey(name: name, allowed: kind.allowed, defaultValue: defaultValue, status: .refused(reason)) {
            text,
            _ in
            guard let value = kind.parse(text) else { return .invalid }
            return isHarmless(value) ? .taken : .refused(reason)
        }
    }

    /// The same key, known to Apache as a flag of the Java virtual machine only.
    var flagOnly: ConfigurationKey {
        var key = self
        key.isFlagOnly = true
        return key
    }

    /// The same key, with a value that messages hide.
    var secret: ConfigurationKey {
        var key = self
        key.isSecret = true
        return key
    }
}
