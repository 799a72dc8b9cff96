internal import AviaryStorage

/// What goes wrong in a life.
extension CrashRun {
    func planFaults(_ life: Int, isLast: Bool) {
        guard !isLast else { return disk.setCapacity(nil) }
        switch plan {
        case .call(let number, let loss):
            if life == 0 { disk.cutPower(after: number) }
            faults.append("power cut at call \(number), \(loss)")
        case .random:
            planPowerCut()
            if random.oneIn(4) { planFailure() }
        }
    }

    private func planPowerCut() {
        switch random.below(10) {
        case 0..<5:
            let count = random.below(random.pick([15, 60, 200]))
            disk.cutPower(after: count)
            faults.append("power cut at call \(count)")
        case 5, 6:
            // What tears a group: it is written, and not yet synced. An open file keeps the name that it was opened by.
            let count = random.below(random.pick([4, 20]))
            disk.cutPower(at: .sync, on: FileNames.spareLog, after: count)
            faults.append("power cut at sync \(count) of a log")
        case 7, 8:
            let kind = random.pick(
                [.sync, .sync, .write, .rename, .syncDirectory, .remove, .truncate, .allocate, .open]
                    as [DiskError.Operation]
            )
            let count = random.below(kind == .sync || kind == .write ? 24 : 4)
            disk.cutPower(at: kind, after: count)
            faults.append("power cut at \(kind.rawValue) \(count)")
        default:
            faults.append("crash between two calls")
        }
    }

    private func planFailure() {
        let kind = random.pick(
            [.sync, .sync, .sync, .syncDirectory, .write, .allocate, .rename, .remove, .open, .truncate]
                as [DiskError.Operation]
        )
        let count = random.below(random.pick([3, 12, 30]))
        var fault = SimulatedDisk.Fault.refuse(kind == .open ? .tooManyFiles : .inputOutput)
        if kind == .write { fault = .writeOnly(bytes: random.below(900), .inputOutput) }
        disk.fail(kind, after: count, with: fault)
        faults.append("\(kind.rawValue) \(count) fails")
    }

    /// A full disk for a while, or its end.
    func changeSpace(fills: Bool) {
        if fills { fillDisk() } else { disk.setCapacity(nil) }
    }

    private func fillDisk() {
        let free = random.pick([0, 0, 4, 12, 16, 24, 40, 100]) << 10
        disk.setCapacity(disk.usedBytes + Int64(free))
        faults.append("disk full but for \(free) bytes")
    }
}
