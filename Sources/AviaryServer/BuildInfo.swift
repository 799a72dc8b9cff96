/// Which server this is, for people and for clients that ask.
package enum BuildInfo {
    /// Aviary's own version.
    package static let version = "0.1.0"

    /// The release of Apache ZooKeeper whose behaviour this server has.
    package static let zooKeeperRelease = "3.9.5"

    /// The day of this release, in the form that ZooKeeper prints: it is in the source, so that two builds of the same
    /// source are the same.
    package static let releaseDate = "2026-11-24 00:00 UTC"

    /// What is answered where clients and scripts expect a ZooKeeper version (`srvr`, `stat`, `envi`, `mntr`).
    ///
    /// They take the leading digits for the release, so the release comes first.
    ///
    /// - Source: `docs/protocol/client-protocol.md` section 19.
    package static let zooKeeperVersion = "\(zooKeeperRelease)-aviary-\(version), built on \(releaseDate)"

    /// What `aviary version` prints.
    package static let summary = "aviary \(version) (speaks ZooKeeper \(zooKeeperRelease))"
}
