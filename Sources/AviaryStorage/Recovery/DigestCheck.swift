internal import ZooKeeperProtocol

/// Compares the tree digest with what snapshot and log say it is, from where that makes sense on
/// (docs/protocol/disk-format.md section 4.3).
///
/// A snapshot taken while transactions were applied is ahead of its name here and there. Replay catches up with it, and
/// from then on every digest has to be right. Deletions leave no trace by which to tell when that is, so a mismatch
/// counts only if no match follows: a match proves the whole tree, whatever was before.
struct DigestCheck {
    private let trailer: (zxid: Zxid, value: UInt64)?
    private let snapshotZxid: Zxid
    /// From here on the digests of transactions are compared.
    private let firstCompared: Zxid
    private var mismatch: DigestAlarm?
    /// The last mismatch that a match followed.
    private(set) var resolved: DigestAlarm?
    private(set) var lastMatch: Zxid?

    init(_ summary: SnapshotSummary?) {
        guard let summary else {
            trailer = nil
            snapshotZxid = .zero
            firstCompared = .zero
            return
        }
        snapshotZxid = summary.zxid
        // The trailer is about the end of writing; with newer effects in the nodes it may be half a transaction short.
        let isUsable = summary.digest.map { $0.zxid >= max(summary.zxid, summary.largestZxid) } ?? false
        trailer = isUsable ? summary.digest : nil
        firstCompared = max(trailer?.zxid ?? .zero, summary.largestZxid)
    }

    var alarm: DigestAlarm? { mismatch }

    /// The snapshot is loaded.
    mutating func check(loaded file: String, digest: @autoclosure () -> UInt64) {
        guard let trailer, trailer.zxid == snapshotZxid else { return }
        compare(trailer.value, digest(), file, trailer.zxid)
    }

    /// A transaction was applied.
    mutating func check(_ zxid: Zxid, _ txnDigest: TxnDigest?, file: String, digest: @autoclosure () -> UInt64) {
        if let trailer, trailer.zxid == zxid { compare(trailer.value, digest(), file, zxid) }
        guard let txnDigest, txnDigest.version == TxnDigest.version, zxid >= firstCompared else { return }
        compare(txnDigest.value, digest(), file, zxid)
    }

    private mutating func compare(_ expected: UInt64, _ computed: UInt64, _ file: String, _ zxid: Zxid) {
        if expected == computed {
            lastMatch = zxid
            if let mismatch { resolved = mismatch }
            mismatch = nil
        } else if mismatch == nil {
            mismatch = DigestAlarm(
                file: file,
                zxid: zxid,
                kind: .mismatch(expected: expected, computed: computed)
            )
        }
    }
}
