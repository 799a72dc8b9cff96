/// A promise of docs/reliability.md that did not hold.
package struct Violation: Error, Sendable, CustomStringConvertible {
    package enum Check: String, Sendable, CaseIterable {
        /// Something that a client was told of is gone (P4, P5).
        case acknowledgedLost = "an acknowledged write is gone"
        /// Something is there that nobody wrote.
        case inventedWrite = "something is there that nobody wrote"
        /// The tree after recovery is not the one at that zxid (P10, P12).
        case wrongTree = "the recovered tree is not the one that was written"
        case wrongDigest = "the digest is not that of the tree"
        /// An ephemeral without its session, or a session that ended without being told to (P8).
        case wrongSessions = "sessions and ephemerals do not agree"
        case sequenceReused = "a sequence number was given twice"
        /// What a client reads or is told is not what stands at that zxid (P2, P3, P6).
        case wrongReply = "a reply is not true"
        case zxidWentBack = "a zxid went back"
        /// Without damage to the disk a server has to start.
        case startRefused = "the server does not start"
        /// The process ended without a reason.
        case serverEnded = "the server ended"
        /// Damage was found, and the message does not say where.
        case wrongDamageReport = "damage is reported wrongly"
        /// A file that is whole by its name is not.
        case unusableFile = "a file with its final name cannot be used"
        case complaint = "the core complains"
        /// At the end nothing may wait for ever.
        case stuck = "something is never answered"

        // Of ensembles.

        /// Zxids of one history have a gap.
        case notContiguous = "a zxid is missing in the order of transactions"
        /// A write or a synced read did not take effect between its request and its reply (P1, P9).
        case notLinearizable = "an operation took effect outside of its time"
        /// Requests of one session took effect or were answered in another order (P2).
        case sessionOrder = "the order of a session is broken"
        /// A write happened twice (P6).
        case writtenTwice = "a write happened twice"
        /// An error was sent that was none, or for something that was done (P6).
        case falseError = "an error is not true"
        /// An event is missing before a reply that reflects what it is about (P7 a, e).
        case missedEvent = "a watch was not told in time"
        /// An event came that nobody waited for, or in the wrong order (P7 b, c, d).
        case wrongEvent = "an event is wrong"
        /// Two servers differ at the same zxid (P12).
        case replicasDiffer = "two servers differ at the same zxid"
        /// A session ended too early, or by the wrong server (P8).
        case expiredTooEarly = "a session was ended too early"
        /// A committed transaction is not stable on a quorum (P4).
        case noQuorum = "a transaction is committed without being stable on a quorum"
        /// Somebody leads who lacks what was committed before (P4).
        case leaderLacksHistory = "a leader lacks what was committed"
        /// Something grows that must not.
        case unbounded = "something grows without bound"
        /// A server says that it has lost what it promised, and nothing was taken from it.
        case memoryLost = "a server has lost its memory for no reason"
        /// No violation: so many members have lost what they knew that nothing may go on.
        case needsHuman = "too many members have lost their memory"
        /// A healed quorum does nothing.
        case noProgress = "a healed quorum makes no progress"

        // The invariants of the specifications, by their names there.

        case leadership = "Leadership: two leaders in one epoch"
        case prefixConsistency = "PrefixConsistency: two servers committed different transactions at one place"
        case integrity = "Integrity: a transaction was delivered that no primary has broadcast"
        case agreement = "Agreement: two servers delivered transactions of which the other has neither"
        case totalOrder = "TotalOrder: two servers delivered two transactions in different orders"
        case localPrimaryOrder = "LocalPrimaryOrder: transactions of one primary were delivered out of its order"
        case globalPrimaryOrder =
            "GlobalPrimaryOrder: a transaction of an earlier epoch was delivered behind a later one"
        case primaryIntegrity = "PrimaryIntegrity: a primary broadcast before it delivered all of earlier epochs"
    }

    package var check: Check
    package var text: String

    package init(_ check: Check, _ text: String) {
        self.check = check
        self.text = text
    }

    package var description: String { "\(check.rawValue): \(text)" }
}
