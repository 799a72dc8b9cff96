import Testing
import ZooKeeperProtocol

@testable import AviaryServer

/// Files in the style in which distributions, images and products write them.
@Suite("Configuration files as people have them")
struct RealFilesTests {
    @Test("The sample that comes with ZooKeeper and with Debian's package")
    func sample() throws {
        let text = """
            # http://hadoop.apache.org/zookeeper/docs/current/zookeeperAdmin.html

            # The number of milliseconds of each tick
            tickTime=2000
            initLimit=10
            syncLimit=5
            dataDir=/var/lib/zookeeper
            # Place the dataLogDir to a separate physical disc for better performance
            # dataLogDir=/disk2/zookeeper

            # the port at which the clients will connect
            clientPort=2181

            # specify all zookeeper servers
            # The fist port is used by followers to connect to the leader
            #server.1=zookeeper1:2888:3888
            #server.2=zookeeper2:2888:3888

            # To avoid seeks ZooKeeper allocates space in the transaction log file in
            # blocks of preAllocSize kilobytes.
            #preAllocSize=65536
            #leaderServes=yes
            """
        let (configuration, notes) = try ServerConfiguration.parse(text: text, fileName: "zoo.cfg")
        #expect(configuration.clients.addresses == .all)
        #expect(configuration.clients.port == 2181)
        #expect(configuration.sessions.tickTime == .milliseconds(2_000))
        #expect(configuration.storage.logDirectory == "/var/lib/zookeeper")
        #expect(configuration.storage.purge == .init())
        #expect(notes.map(\.severity) == [.info])
    }

    @Test("The Docker image: its port stands in the server's line")
    func dockerImage() throws {
        let text = """
            dataDir=/data
            dataLogDir=/datalog
            tickTime=2000
            initLimit=5
            syncLimit=2
            autopurge.snapRetainCount=3
            autopurge.purgeInterval=0
            maxClientCnxns=60
            standaloneEnabled=true
            admin.enableServer=true
            server.1=localhost:2888:3888;2181
            """
        let (configuration, notes) = try ServerConfiguration.parse(text: text, fileName: "/conf/zoo.cfg")
        #expect(configuration.clients.addresses == .all)
        #expect(configuration.clients.port == 2181)
        #expect(configuration.storage.dataDirectory == "/data")
        #expect(configuration.storage.logDirectory == "/datalog")
        #expect(configuration.storage.purge == nil)
        #expect(notes.allSatisfy { $0.severity == .info && $0.text.hasPrefix("/conf/zoo.cfg") })
    }

    @Test("A container image that writes every key")
    func containerImage() throws {
        let text = """
            tickTime=2000
            initLimit=10
            syncLimit=5
            dataDir=/bitnami/zookeeper/data
            clientPort=2181
            maxCnxns=0
            maxClientCnxns=60
            autopurge.snapRetainCount=3
            autopurge.purgeInterval=0
            preAllocSize=65536
            snapCount=100000
            maxSessionTimeout=40000
            quorumListenOnAllIPs=false
            admin.serverPort=8080
            admin.enableServer=true
            4lw.commands.whitelist=srvr, mntr
            peerType=participant
            reconfigEnabled=false
            """
        let (configuration, notes) = try ServerConfiguration.parse(text: text, fileName: "zoo.cfg")
        #expect(configuration.sessions.maximumTimeout == .milliseconds(40_000))
        #expect(configuration.fourLetterWords.allowed == ["srvr", "mntr"])
        #expect(!notes.contains { $0.severity == .warning })
    }

    @Test("Three servers as the administrator's guide has them, and the one that is an observer")
    func ensemble() throws {
        let text = """
            tickTime=2000
            dataDir=/var/lib/zookeeper/
            clientPort=2181
            initLimit=5
            syncLimit=2
            peerType=observer
            server.1=zoo1:2888:3888
            server.2=zoo2:2888:3888
            server.3=zoo3:2888:3888
            server.4=zoo4:2888:3888:observer
            """
        let (configuration, notes) = try ServerConfiguration.read(
            file: ConfigurationText(name: "zoo.cfg", text: text),
            openFile: { path throws(UnreadableFile) in
                guard path == "/var/lib/zookeeper/myid" else { throw UnreadableFile(reason: path) }
                return "4\n"
            }
        )
        let ensemble = try #require(configuration.ensemble)
        #expect(ensemble.me.rawValue == 4)
        #expect(ensemble.ownMember?.role == .observer)
        #expect(ensemble.members.voters.count == 3)
        #expect(ensemble.initLimit == 5)
        #expect(ensemble.syncLimit == 2)
        #expect(ensemble.introductionTimeout == .seconds(4))
        #expect(notes.isEmpty)
    }

    @Test("Kafka's and Confluent's, with all connections allowed")
    func kafka() throws {
        let text = """
            dataDir=/tmp/zookeeper
            clientPort=2181
            # disable the per-ip limit on the number of connections since this is a non-production config
            maxClientCnxns=0
            admin.enableServer=false
            # admin.serverPort=8080
            """
        let (configuration, notes) = try ServerConfiguration.parse(text: text, fileName: "zookeeper.properties")
        #expect(configuration.clients.maximumConnectionsPerAddress == nil)
        #expect(configuration.sessions.tickTime == .milliseconds(3_000))
        #expect(notes.isEmpty)
    }

    @Test("Windows line ends and spaces around the equals sign")
    func windows() throws {
        let text = "tickTime = 2000\r\ndataDir = /zk data\r\nclientPort = 2181\r\n"
        let (configuration, notes) = try ServerConfiguration.parse(text: text, fileName: "zoo.cfg")
        #expect(configuration.storage.dataDirectory == "/zk data")
        #expect(notes.isEmpty)
    }

    @Test("A cluster with Kerberos is refused with every reason")
    func kerberos() {
        let text = """
            tickTime=2000
            dataDir=/var/lib/zookeeper
            clientPort=2181
            server.1=zk1:3181:4181
            server.2=zk2:3181:4181
            server.3=zk3:3181:4181
            authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
            kerberos.removeHostFromPrincipal=true
            kerberos.removeRealmFromPrincipal=true
            jaasLoginRenew=3600000
            requireClientAuthScheme=sasl
            quorum.auth.enableSasl=true
            """
        do throws(ConfigurationError) {
            _ = try ServerConfiguration.parse(text: text, fileName: "zoo.cfg")
            Issue.record("was accepted")
        } catch {
            // The file myid, initLimit and syncLimit are missing, too.
            #expect(
                error.problems.map(\.place) == [
                    "zoo.cfg:2", "zoo.cfg:4", "zoo.cfg:4", "zoo.cfg:7", "zoo.cfg:11", "zoo.cfg:12",
                ]
            )
        }
    }
}
