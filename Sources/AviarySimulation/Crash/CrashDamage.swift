internal import AviaryStorage

/// A life that begins with damage to the disk.
extension CrashRun {
    /// Turns one bit, and starts a server: it has to say where the damage is, or to come out right without what is damaged.
    /// Afterwards the bit is turned back, as if the file came from a copy, so that the lives go on.
    ///
    /// - Returns: the server, if it started.
    func startDamaged() throws(Violation) -> SimulatedServer? {
        let drawn = BitFlip.draw(from: disk, fileDirectories, excluding: unmarked, using: &random)
        guard let flip = drawn else { return nil }
        counts[.bitsFlipped] += 1
        faults.append("bit \(flip.bit) of byte \(flip.offset) of \(flip.path) turned")
        flip.turn(on: disk)
        let isNew = damaged.insert(flip.path).inserted
        let started: SimulatedServer
        do throws(StorageError) {
            started = try SimulatedServer(on: disk, settings, planted: planted, seed: random.next(), now: now)
        } catch {
            narrate("  refused: \(error)")
            if try flip.checkReport(error) { counts[.damageReportedInLog] += 1 }
            counts[.damageReported] += 1
            repair(flip, isNew)
            return nil
        }
        try check(started)
        counts[.damageSurvived] += 1
        if flip.isInMark {
            // The server has gone on without the mark. With an old one back, or with more damage in this file, nobody could
            // tell what was acknowledged in it: that would be two faults, and one at a time is the promise.
            unmarked.insert(flip.path)
            damaged.remove(flip.path)
        } else if !flip.isInLog, random.oneIn(2) {
            counts[.damageLeft] += 1
        } else {
            repair(flip, isNew)
        }
        return started
    }

    private func repair(_ flip: BitFlip, _ isNew: Bool) {
        flip.turn(on: disk)
        if isNew { damaged.remove(flip.path) }
    }
}
