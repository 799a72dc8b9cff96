internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// Processes that begin and end, and what their disks must still hold then.
extension EnsembleRun {
    func start(_ machine: Machine) {
        machine.isStartPlanned = false
        guard machine.process == nil, !machine.staysDown else { return }
        machine.isOn = true
        machine.incarnation += 1
        counts[.starts] += 1
        if !machine.hasStarted, settings.needsInitialize { machine.disk.setContents("data/initialize", []) }
        resetFiles(machine)
        machine.hasStarted = true
        if !machine.isFull { machine.wasFull = false }
        do throws(StorageError) {
            let process = try MemberProcess(machine, self, seed: random.next())
            machine.process = process
            try started(process)
            process.begin()
        } catch {
            processFailed(machine, error)
        }
        checkPower(machine)
    }

    /// What was stable is there again.
    func started(_ process: MemberProcess) throws(StorageError) {
        let machine = process.machine
        let last = process.recovery.lastZxid
        narrate("\(machine.id) starts at \(last)")
        if !process.remembersAll, !process.lacksEnd, !machine.isDamaged {
            observer.fail(Violation(.memoryLost, "\(machine.id) has started at \(last)"))
        }
        // One that says that it lost something has to be synchronized before it counts again.
        // What a leader asked it to cut off, and what may or may not be cut off, was not promised any more.
        let promised = min(machine.mirror.durableLast, machine.cutting ?? Zxid(.max))
        machine.cutting = nil
        if last < promised, !machine.isDamaged, process.remembersAll {
            observer.fail(
                Violation(
                    .acknowledgedLost,
                    "\(machine.id) has recovered \(last), \(machine.mirror.durableLast) was stable there"
                )
            )
        }
        if last > machine.mirror.last, machine.incomingSnapshot == last { machine.mirror.reset(to: last) }
        // A snapshot may bear the first zxid of an epoch, which is that of no transaction.
        if last > machine.mirror.last, last.rawValue & 0xffff_ffff != 0 {
            observer.fail(
                Violation(
                    .inventedWrite,
                    "\(machine.id) has recovered \(last), its log ended with \(machine.mirror.last)"
                )
            )
        }
        machine.mirror.recovered(upTo: last)
    }

    /// A process ends by itself: its disk has refused something.
    func processFailed(_ machine: Machine, _ error: StorageError) {
        narrate("\(machine.id) ends: \(error)")
        guard machine.disk.hasPower else { return }
        counts[.diskFailures] += 1
        if machine.disk.faultCount == 0, !machine.wasFull, !machine.isDamaged {
            observer.fail(Violation(.serverEnded, "\(machine.id): \(error)"))
        }
        end(machine)
        planStart(machine)
    }

    func checkPower(_ machine: Machine) {
        guard !machine.disk.hasPower else { return }
        narrate("\(machine.id) loses power in a call of its disk")
        counts[.powerCutsInCall] += 1
        cutPower(machine, random.oneIn(3) ? .everythingUnsynced : .random)
        planStart(machine)
    }

    /// A process is gone.
    func end(_ machine: Machine) {
        counts[.callsFailed] += machine.disk.faultCount
        machine.process = nil
        machine.isStopped = false
        machine.delayed = []
        machine.incarnation += 1
        network.endProcess(machine.host)
        recorder.history.refusesWrites(false, machine.id.rawValue, at: time.microseconds)
        machine.disk.restart(.processOnly)
    }

    func cutPower(_ machine: Machine, _ loss: SimulatedDisk.Loss) {
        counts[.callsFailed] += machine.disk.faultCount
        machine.process = nil
        machine.isStopped = false
        machine.isOn = false
        machine.delayed = []
        machine.incarnation += 1
        network.cutPower(machine.host)
        recorder.history.refusesWrites(false, machine.id.rawValue, at: time.microseconds)
        machine.disk.restart(loss)
        counts[.powerCuts] += 1
    }

    func planStart(_ machine: Machine, after delay: Int64? = nil) {
        guard !machine.isStartPlanned else { return }
        machine.isStartPlanned = true
        plan(
            .start(server: machine.host.rawValue),
            after: delay ?? random.range(10_000, random.oneIn(3) ? 4_000_000 : 400_000)
        )
    }
}
