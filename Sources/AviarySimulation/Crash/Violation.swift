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
    }

    package var check: Check
    package var text: String

    package init(_ check: Check, _ text: String) {
        self.check = check
        self.text = text
    }

    package var description: String { "\(check.rawValue): \(text)" }
}
