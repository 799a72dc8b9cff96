import ZooKeeperProtocol

/// What learners handed on while nothing more fitted into this leader's log.
///
/// A learner waits for what became of each write, and with it everything behind it of the same session: one that was
/// passed over would hold its client up for ever. So it is refused, by a transaction, as soon as that fits.
struct PostponedRequests: ~Copyable {
    struct Request {
        enum Kind {
            /// To be refused: nobody expects any more that it is done.
            case write(cxid: Int32)
            /// The end of the session, which goes on until then.
            case end(cxid: Int32)
            /// Its client is elsewhere now. Not told before what it asked for is refused.
            case revalidation(timeoutMilliseconds: Int32)
            /// Takes no room, but learners expect answers in the order of their questions.
            case sync
        }

        var learner: LearnerID
        var session: SessionID
        var kind: Kind
    }

    /// Refusing them takes less of the log than a full disk has left when it says that there is room again.
    static let capacity = 10_000

    private var requests = FIFO<Request>()
    /// How many there are of each session that has any.
    private var counts: [SessionID: Int] = [:]

    init() {}

    var isEmpty: Bool { requests.isEmpty }
    var isFull: Bool { requests.count >= PostponedRequests.capacity }

    mutating func append(_ request: Request) {
        requests.append(request)
        counts[request.session, default: 0] += 1
    }

    mutating func takeAll() -> FIFO<Request> {
        counts.removeAll()
        return requests.takeAll()
    }

    mutating func removeAll() {
        counts.removeAll()
        requests.removeAll()
    }

    mutating func removeAll(of learner: LearnerID) {
        var old = takeAll()
        while let request = old.popFirst() {
            if request.learner != learner { append(request) }
        }
    }

    func holdsAny(of session: SessionID) -> Bool { counts[session] != nil }
}

extension ServerCore {
    /// Keeps a request until there is room for what it takes. Too many are a reason to let another server lead.
    mutating func postpone(
        _ kind: PostponedRequests.Request.Kind,
        of session: SessionID,
        from learner: LearnerID,
        into output: inout Output
    ) {
        guard !postponed.isFull else {
            output.resignation = "too many requests wait for room on the disk of its transaction log"
            return
        }
        postponed.append(PostponedRequests.Request(learner: learner, session: session, kind: kind))
    }

    /// There is room: what came meanwhile, in its order.
    mutating func takeUpPostponed(at now: Now, into output: inout Output) {
        var requests = postponed.takeAll()
        while let request = requests.popFirst() {
            let session = request.session
            switch request.kind {
            case .write(let cxid):
                propose(.error(.systemError), session: session, cxid: cxid, from: nil, now: now, into: &output)
            case .end(let cxid):
                forwarded(
                    operation: Operation.closeSession.rawValue,
                    cxid: cxid,
                    session: session,
                    body: UnsafeRawBufferPointer(start: nil, count: 0),
                    identities: nil,
                    from: request.learner,
                    at: now,
                    into: &output
                )
            case .revalidation(let timeoutMilliseconds):
                revalidate(
                    session,
                    timeoutMilliseconds: timeoutMilliseconds,
                    from: request.learner,
                    at: now,
                    into: &output
                )
            case .sync:
                oweSync(to: request.learner, into: &output)
            }
        }
    }
}
