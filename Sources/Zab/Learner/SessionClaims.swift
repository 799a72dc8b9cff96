import ZooKeeperProtocol

/// At whom of an observer master and its observers the clients of sessions are that have come back to one of them.
///
/// To the leader all of them are one server: a session that has gone from one to another is still where it was. So what an
/// earlier connection asked for, and was not handed on yet, has to be held back here, or it would take effect behind what
/// the session has asked for since.
struct SessionClaims: Sendable {
    /// nil is this server itself.
    private var holders: [SessionID: LinkID?] = [:]
    /// In the order in which they came, once each.
    private var sessions: [SessionID] = []

    /// Of so many sessions that moved last it is known where they went; of those before no request is under way any more.
    static let limit = 50_000

    /// A client has come with its session, and its password is right.
    ///
    /// - Parameter link: of the observer; nil is this server itself.
    mutating func claim(_ session: SessionID, by link: LinkID?) {
        if holders.updateValue(link, forKey: session) == nil { sessions.append(session) }
        guard sessions.count > SessionClaims.limit else { return }
        let forgotten = sessions.prefix(SessionClaims.limit / 2)
        for session in forgotten { holders[session] = nil }
        sessions.removeFirst(forgotten.count)
    }

    /// Whether a session may ask for something over the link of an observer.
    func allows(_ session: SessionID, on link: LinkID) -> Bool {
        guard let holder = holders[session] else { return true }
        return holder == link
    }
}
