import AviarySimulation
import Testing
import ZooKeeperProtocol

/// Small histories, written by hand: good ones, and ones in which one promise is broken.
struct Story {
    var history = History()
    var committed = CommittedHistory()
    let session = SessionID(0x11)
    private var time: Int64 = 0

    init() throws {
        try commit(0x1_0000_0001, .createSession(timeoutMilliseconds: 4000), cxid: 0)
        history.attach(client: 1, session: session, at: 1)
    }

    mutating func commit(
        _ zxid: Int64,
        _ body: TxnBody,
        session: SessionID? = nil,
        cxid: Int32,
        fingerprint: UInt64 = 0
    ) throws {
        time += 1
        let header = TxnHeader(session: session ?? self.session, cxid: cxid, zxid: Zxid(zxid), time: 1000)
        try committed.append(Txn(header: header, body: body, digest: nil), fingerprint: fingerprint, at: time)
    }

    mutating func ask(_ request: Request, xid: Int32, client: Int = 1, session: SessionID? = nil, connection: Int = 1)
        -> Int
    {
        time += 1
        return history.invoke(
            request,
            client: client,
            session: session ?? self.session,
            connection: connection,
            xid: xid,
            at: time
        )
    }

    mutating func reply(_ index: Int, _ zxid: Int64, error: ErrorCode = .ok, _ answer: Answer = .nothing) {
        time += 1
        history.reply(to: index, zxid: Zxid(zxid), error: error, answer, at: time)
    }

    mutating func event(_ kind: WatcherEvent.Kind, _ path: String, _ zxid: Int64) {
        time += 1
        history.event(client: 1, session: session, History.Event(kind, path, Zxid(zxid)), at: time)
    }

    func stat(_ path: String, at zxid: Int64) -> Stat {
        let zxid = Zxid(zxid)
        guard let node = committed.node(path, at: zxid) else { return Story.noStat }
        let children = Int32(committed.children(of: path, at: zxid).count)
        return Stat(
            czxid: node.stat.czxid,
            mzxid: node.stat.mzxid,
            ctime: node.stat.ctime,
            mtime: node.stat.mtime,
            version: node.stat.version,
            cversion: 2 * node.stat.cversion - children,
            aversion: node.stat.aversion,
            ephemeralOwner: node.isEphemeral ? node.stat.ephemeralOwner : 0,
            dataLength: Int32(node.data?.count ?? 0),
            numChildren: children,
            pzxid: node.stat.pzxid
        )
    }

    static let noStat = Stat(
        czxid: .zero,
        mzxid: .zero,
        ctime: 0,
        mtime: 0,
        version: 0,
        cversion: 0,
        aversion: 0,
        ephemeralOwner: 0,
        dataLength: 0,
        numChildren: 0,
        pzxid: .zero
    )

    static func create(_ path: String, _ data: [UInt8] = [1], isEphemeral: Bool = false, parent: Int32 = 1) -> TxnBody {
        .create(
            TxnBody.CreateTxn(
                kind: .create2,
                path: Array(path.utf8),
                data: data,
                acl: ACL.open,
                isEphemeral: isEphemeral,
                parentCVersion: parent
            )
        )
    }

    static func set(_ path: String, _ data: [UInt8], version: Int32) -> TxnBody {
        .setData(path: Array(path.utf8), data: data, version: version, isReconfig: false)
    }

    /// Session 0x11 makes /a and is told so.
    static func withNode() throws -> Story {
        var story = try Story()
        let create = story.ask(.create("/a", data: [1], .plain), xid: 1)
        try story.commit(0x1_0000_0002, Story.create("/a"), cxid: 1)
        story.reply(create, 0x1_0000_0002, .created("/a", story.stat("/a", at: 0x1_0000_0002)))
        return story
    }

    func expect(
        _ check: Violation.Check?,
        _ checker: (History, CommittedHistory) throws(Violation) -> Void,
        location: SourceLocation = #_sourceLocation
    ) {
        do throws(Violation) {
            try checker(history, committed)
            #expect(check == nil, "nothing was found", sourceLocation: location)
        } catch {
            #expect(error.check == check, "\(error)", sourceLocation: location)
        }
    }
}

/// `z + n` is the n-th zxid of the first epoch.
let z: Int64 = 0x1_0000_0000
