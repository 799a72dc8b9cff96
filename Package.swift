// swift-tools-version: 6.2
import PackageDescription

/// Swift 6 mode comes with the tools version; these are the stricter rules that the house adds to it.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let nio = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "aviary",
    platforms: [.macOS(.v26)],
    products: [
        .executable(name: "aviary", targets: ["aviary"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
    ],
    targets: [
        // Level 0: what is on the wire and in the files. Standard library only.
        .target(name: "ZooKeeperProtocol", dependencies: ["CInstructions"], swiftSettings: settings),
        // Instructions of the processor that Swift has no name for.
        .target(name: "CInstructions"),

        // Level 1: election, discovery, synchronization, broadcast.
        .target(name: "Zab", dependencies: ["ZooKeeperProtocol"], swiftSettings: settings),

        // Level 1: files, over an injected disk.
        .target(name: "AviaryStorage", dependencies: ["ZooKeeperProtocol"], swiftSettings: settings),

        // Level 2: the state machine: tree, watches, sessions, requests.
        .target(name: "AviaryCore", dependencies: ["ZooKeeperProtocol"], swiftSettings: settings),

        // Level 3, and pure all the same: a member of an ensemble, out of the three below.
        .target(
            name: "AviaryEnsemble",
            dependencies: ["AviaryCore", "AviaryStorage", "Zab", "ZooKeeperProtocol"],
            swiftSettings: settings
        ),

        // … and servers, disks and clients out of one seed.
        .target(
            name: "AviarySimulation",
            dependencies: ["AviaryCore", "AviaryEnsemble", "AviaryStorage", "Zab", "ZooKeeperProtocol"],
            swiftSettings: settings
        ),

        // Level 3: sockets, threads, real disk, configuration.
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
        .target(
            name: "AviaryServer",
            dependencies: [
                "AviaryCore", "AviaryEnsemble", "AviaryStorage", "Zab", "ZooKeeperProtocol", "CZlib", nio, nioPosix,
                logging, crypto,
            ],
            swiftSettings: settings
        ),

        // Level 4: the command line.
        .executableTarget(
            name: "aviary",
            dependencies: [
                "AviaryServer", logging,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),

        .executableTarget(
            name: "aviary-sim",
            dependencies: [
                "AviarySimulation",
                "ZooKeeperProtocol",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),

        // Measures the pure levels in process; see bench/ for whole servers.
        .executableTarget(
            name: "aviary-benchmarks",
            dependencies: ["AviaryCore", "ZooKeeperProtocol"],
            path: "Benchmarks",
            swiftSettings: settings
        ),

        .testTarget(
            name: "ZooKeeperProtocolTests",
            dependencies: ["ZooKeeperProtocol"],
            swiftSettings: settings
        ),
        .testTarget(name: "ZabTests", dependencies: ["Zab", "ZooKeeperProtocol"], swiftSettings: settings),
        .testTarget(
            name: "AviaryStorageTests",
            dependencies: ["AviarySimulation", "AviaryStorage", "ZooKeeperProtocol"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AviaryCoreTests",
            dependencies: ["AviaryCore", "ZooKeeperProtocol", crypto],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AviarySimulationTests",
            dependencies: ["AviarySimulation", "ZooKeeperProtocol"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AviaryServerTests",
            dependencies: [
                "AviaryServer", "AviaryEnsemble", "AviaryCore", "AviaryStorage", "ZooKeeperProtocol", nio, nioPosix,
                logging,
            ],
            swiftSettings: settings
        ),
        .testTarget(name: "AviaryTests", dependencies: ["aviary"], swiftSettings: settings),
        .testTarget(name: "TidyTests", swiftSettings: settings),
    ]
)
