internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// The end of a fault.
package enum Relief: Sendable {
    case goOn(server: Int)
    case mend(Int, Int)
    case flap(Int, Int, times: Int)
    case calm(Int)
    case read(LinkKey, LinkEnd)
    case quicken(server: Int)
    case empty(server: Int)
}

/// Faults, as the seed draws them.
extension EnsembleRun {
    private var voters: [Machine] { machines.filter { isVoter($0.id) } }

    private var leader: Machine? {
        machines.first { machine in
            guard let member = machine.process?.member else { return false }
            if case .leading = member.role { return true }
            return false
        }
    }

    private func target() -> Machine {
        if let leader, random.oneIn(settings.faults.leaderOneIn) { return leader }
        return random.pick(machines)
    }

    private func duration() -> Int64 {
        random.pick([50_000, 300_000, 1_500_000, 5_000_000] as [Int64]) / 2 + random.range(0, 500_000)
    }

    func strike() {
        guard !settings.faults.kinds.isEmpty else { return }
        let kind = random.pick(settings.faults.kinds)
        let machine = target()
        narrate("fault: \(kind.rawValue), \(machine.id)")
        switch kind {
        case .kill: kill(machine)
        case .powerCut: if machine.isOn { loseLater(machine) }
        case .powerCutInCall: machine.disk.cutPower(after: random.below(random.pick([4, 20, 100])))
        case .blackout: blackOut()
        case .pause: pause(machine)
        case .isolation: isolate(machine)
        case .split: split()
        case .oneWay: cutOneWay(machine)
        case .flapping: flap(machine)
        case .reset: breakLinks()
        case .slowNetwork: slowDown(machine)
        case .slowReader: stopReading()
        case .slowDisk: slowDisk(machine)
        case .failingDisk: failDisk(machine)
        case .fullDisk: fillDisk(machine)
        case .flippedBit: flipBit()
        case .lostDisk: loseDisk()
        case .clockJump: jump(machine)
        }
    }

    // MARK: - Processes

    private func kill(_ machine: Machine) {
        guard machine.process != nil else { return }
        counts[.kills] += 1
        end(machine)
        planStart(machine)
    }

    private func loseLater(_ machine: Machine) {
        guard machine.process != nil else { return }
        cutPower(machine, random.pick([.everythingUnsynced, .random, .random]))
        planStart(machine)
    }

    private func blackOut() {
        counts[.blackouts] += 1
        for machine in machines where machine.process != nil { loseLater(machine) }
    }

    private func pause(_ machine: Machine) {
        guard machine.process != nil, !machine.isStopped else { return }
        counts[.pauses] += 1
        machine.isStopped = true
        network.setStopped(machine.host, true)
        plan(.relief(.goOn(server: machine.host.rawValue)), after: duration())
    }

    private func goOn(_ machine: Machine) {
        guard machine.isStopped else { return }
        narrate("\(machine.id) goes on")
        machine.isStopped = false
        network.setStopped(machine.host, false)
        let delayed = machine.delayed
        machine.delayed = []
        // What it would have done meanwhile and what has come meanwhile mix by chance.
        for event in delayed { plan(event, after: random.range(0, 300)) }
    }

    // MARK: - Network

    private func cut(_ from: Host, _ to: Host, for duration: Int64) {
        network.setCut(from: from, to: to, true)
        plan(.relief(.mend(from.rawValue, to.rawValue)), after: duration)
    }

    private func isolate(_ machine: Machine) {
        counts[.partitions] += 1
        let duration = duration()
        for other in machines where other !== machine {
            cut(machine.host, other.host, for: duration)
            cut(other.host, machine.host, for: duration)
        }
        guard random.oneIn(3) else { return }
        for client in clients {
            cut(machine.host, client.host, for: duration)
            cut(client.host, machine.host, for: duration)
        }
    }

    private func split() {
        counts[.partitions] += 1
        let duration = duration()
        let side = Set(machines.filter { _ in random.oneIn(2) }.map(\.host))
        for machine in machines {
            for other in machines where side.contains(machine.host) != side.contains(other.host) {
                cut(machine.host, other.host, for: duration)
            }
        }
    }

    private func cutOneWay(_ machine: Machine) {
        counts[.partitions] += 1
        let duration = duration()
        let isOutwards = random.oneIn(2)
        for other in machines where other !== machine && !random.oneIn(3) {
            let (from, to) = isOutwards ? (machine.host, other.host) : (other.host, machine.host)
            cut(from, to, for: duration)
        }
    }

    private func flap(_ machine: Machine) {
        let other = random.pick(machines)
        guard other !== machine else { return }
        counts[.partitions] += 1
        flap(machine.host.rawValue, other.host.rawValue, times: 4 + random.below(8))
    }

    private func flap(_ from: Int, _ to: Int, times: Int) {
        guard times > 0, isFaulty else {
            mend(from, to)
            return mend(to, from)
        }
        let isCut = network.isCut(from: Host(from), to: Host(to))
        network.setCut(from: Host(from), to: Host(to), !isCut)
        network.setCut(from: Host(to), to: Host(from), !isCut)
        plan(.relief(.flap(from, to, times: times - 1)), after: random.range(20_000, 600_000))
    }

    private func mend(_ from: Int, _ to: Int) {
        network.setCut(from: Host(from), to: Host(to), false)
    }

    private func breakLinks() {
        let service = random.pick([Service.quorum, .quorum, .election, .client])
        let links = network.openLinks(service)
        guard !links.isEmpty else { return }
        for _ in 0..<(1 + random.below(3)) {
            counts[.resets] += 1
            network.breakLink(random.pick(links))
        }
    }

    private func slowDown(_ machine: Machine) {
        counts[.slowNetworks] += 1
        let base = random.pick([20_000, 100_000, 400_000] as [Int64])
        let latency = SimulatedNetwork.Latency(base: base, jitter: base, lossOneIn: 50)
        for other in machines where other !== machine {
            network.setLatency(from: machine.host, to: other.host, latency)
            if random.oneIn(2) { network.setLatency(from: other.host, to: machine.host, latency) }
        }
        plan(.relief(.calm(machine.host.rawValue)), after: duration())
    }

    private func stopReading() {
        let links = network.openLinks(.quorum)
        guard !links.isEmpty else { return }
        counts[.slowReaders] += 1
        let link = random.pick(links)
        let end: LinkEnd = random.oneIn(2) ? .opener : .acceptor
        network.setAsleep(link, end, true)
        plan(.relief(.read(link, end)), after: duration())
    }

    // MARK: - Disks

    private func slowDisk(_ machine: Machine) {
        counts[.slowDisks] += 1
        machine.slowness = random.pick([10, 100, 1000])
        plan(.relief(.quicken(server: machine.host.rawValue)), after: duration())
    }

    private func failDisk(_ machine: Machine) {
        let kind = random.pick(
            [.sync, .sync, .sync, .syncDirectory, .write, .allocate, .rename, .remove, .open, .truncate]
                as [DiskError.Operation]
        )
        var fault = SimulatedDisk.Fault.refuse(kind == .open ? .tooManyFiles : .inputOutput)
        if kind == .write { fault = .writeOnly(bytes: random.below(900), .inputOutput) }
        machine.disk.fail(kind, after: random.below(12), with: fault)
    }

    private func fillDisk(_ machine: Machine) {
        machine.disk.setCapacity(machine.disk.usedBytes + Int64(random.pick([0, 0, 4, 16, 40]) << 10))
        machine.isFull = true
        machine.wasFull = true
        counts[.fullDisks] += 1
        plan(.relief(.empty(server: machine.host.rawValue)), after: duration())
    }

    /// So many voters may have lost something, and every transaction that was committed is still known to a voter in each
    /// quorum of those that remember all they promised: whoever has lost something takes no part in a vote before it is
    /// synchronized again.
    private var mayDamage: Bool { voters.count(where: \.isDamaged) < settings.spare }

    private func flipBit() {
        let candidates = machines.filter { machine in
            machine.process == nil && !machine.disk.hasUnsyncedChanges && (machine.isDamaged || mayDamage)
        }
        guard let machine = candidates.isEmpty ? nil : random.pick(candidates) else { return }
        var paths: [String] = []
        for directory in Set([directories.snapshots, directories.logs]).sorted() {
            for name in machine.disk.files(in: directory).keys.sorted() where !name.hasPrefix(".") {
                if name.hasPrefix("log.") ? !machine.hasFlippedLog : name.hasPrefix("snapshot.") {
                    paths.append(directory + "/" + name)
                }
            }
        }
        guard !paths.isEmpty else { return }
        let path = random.pick(paths)
        guard let bytes = machine.disk.contents(path), let last = bytes.lastIndex(where: { $0 != 0 }) else { return }
        counts[.bitsFlipped] += 1
        machine.isDamaged = true
        if path.contains("/log.") { machine.hasFlippedLog = true }
        let offset = random.below(last + 1)
        narrate("a bit of byte \(offset) of \(path) of \(machine.id) is turned")
        machine.disk.flipBit(path, offset: offset, bit: random.below(8))
    }

    private func loseDisk() {
        let candidates = machines.filter { $0.process == nil && ($0.isDamaged || mayDamage) }
        guard let machine = candidates.isEmpty ? nil : random.pick(candidates) else { return }
        counts[.disksLost] += 1
        narrate("\(machine.id) loses its disk")
        machine.isDamaged = true
        machine.disk.wipe()
        machine.lost = machine.mirror
        machine.mirror.reset(to: .zero)
    }

    private func jump(_ machine: Machine) {
        counts[.clockJumps] += 1
        machine.clockSkew += random.range(-20_000, 20_000)
    }

    // MARK: - Relief

    func relieve(_ relief: Relief) {
        switch relief {
        case .goOn(let server): if let machine = machine(at: Host(server)) { goOn(machine) }
        case .mend(let from, let to): mend(from, to)
        case .flap(let from, let to, let times): flap(from, to, times: times)
        case .calm(let server): calm(Host(server))
        case .read(let link, let end): network.setAsleep(link, end, false)
        case .quicken(let server): machine(at: Host(server))?.slowness = 1
        case .empty(let server): if let machine = machine(at: Host(server)) { empty(machine) }
        }
    }

    private func empty(_ machine: Machine) {
        machine.isFull = false
        machine.disk.setCapacity(nil)
    }

    private func calm(_ host: Host) {
        for other in machines {
            network.setLatency(from: host, to: other.host, nil)
            network.setLatency(from: other.host, to: host, nil)
        }
    }

    func relieveAll() {
        network.mendAll()
        network.wakeAll()
        for machine in machines {
            goOn(machine)
            machine.slowness = 1
            empty(machine)
            machine.disk.cutPower(after: nil)
            machine.disk.forgetPlannedFault()
        }
    }
}
