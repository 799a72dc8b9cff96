internal import AviaryEnsemble
internal import Logging
internal import Zab
internal import ZooKeeperProtocol

/// What a change of the configuration means for the rest of this server: who is connected to, where it listens, and what
/// stands in its files.
extension ServerLoop {
    func configurationChanged(
        _ configuration: QuorumConfiguration,
        isCommitted: Bool,
        _ ensemble: EnsembleLink
    ) {
        let version = Logger.MetadataValue.stringConvertible(Zxid(configuration.version))
        let previous = ensemble.configurationVersion
        if !isCommitted {
            logger.info("another configuration is proposed", metadata: ["version": version])
            ensemble.files?.submit(.propose(configuration))
        } else if configuration.version == previous {
            logger.info("the proposed configuration is withdrawn", metadata: ["in force": version])
            ensemble.files?.submit(.withdraw)
        } else {
            logger.info("another configuration is in force", metadata: ["version": version])
            ensemble.configurationVersion = configuration.version
            followClientAddress(ensemble)
            write(configuration, previousVersion: previous, ensemble)
        }
        // Who is to join must be able to take part before the change is in force, and who goes has to hear that he does.
        ensemble.election.update(members: configuration.members)
        guard let own = configuration.member(ensemble.configuration.me) else { return }
        ensemble.links.listen(on: own.learnerAddresses(masterPort: ensemble.configuration.observerMasterPort))
    }

    private func write(_ configuration: QuorumConfiguration, previousVersion: Int64, _ ensemble: EnsembleLink) {
        if let files = ensemble.files {
            let port = configuration.member(ensemble.configuration.me)?.client?.port ?? clientPort
            files.submit(.commit(configuration, previousVersion: previousVersion, clientPort: port))
        } else if !ensemble.hasToldOfNoFile {
            ensemble.hasToldOfNoFile = true
            logger.warning(
                "the configuration of the ensemble is in no file that can be rewritten, because flags say who the members are; a start with the same flags takes the newer one from the data"
            )
        }
    }

    // MARK: - At the start

    /// The files may be behind what the data holds, and ahead of it by a proposal that came to nothing.
    func checkFiles(_ ensemble: EnsembleLink) {
        guard configuration.features.reconfig else { return }
        let inFile = ensemble.configuration.members
        let current = ensemble.member.configuration
        if current.version > inFile.version {
            logger.warning(
                "the data holds a newer configuration of the ensemble than the file, and it counts",
                metadata: ["in force": "\(Zxid(current.version))", "file": "\(Zxid(inFile.version))"]
            )
            write(current, previousVersion: inFile.version, ensemble)
        } else if ensemble.member.proposedConfiguration == nil {
            ensemble.files?.submit(.withdraw)
        }
    }

    /// Clients are let in.
    func takePorts(_ ports: ClientPorts) {
        clientPorts = ports
        if let ensemble { followClientAddress(ensemble) }
    }

    /// The client port moves to where the configuration in force has it, unless a flag has it elsewhere.
    private func followClientAddress(_ ensemble: EnsembleLink) {
        guard configuration.features.reconfig, !ensemble.configuration.isClientAddressFixed,
            let client = ensemble.member.configuration.member(ensemble.configuration.me)?.client
        else { return }
        clientPorts?.move(to: client)
    }
}
