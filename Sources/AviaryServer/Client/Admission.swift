/// How many connections there may be, counted at the door (docs/protocol/client-protocol.md section 18).
struct Admission {
    /// From one address; nil is no limit.
    let maximumPerAddress: Int?
    /// In total; nil is no limit.
    let maximumTotal: Int?
    /// As many descriptors as clients may have. Above it the newest client is turned away, so that accepting never fails
    /// for want of a descriptor and log files can always be opened.
    let maximumDescriptors: Int

    private(set) var total = 0
    private var perAddress: [Peer.AddressKey: Int] = [:]

    enum Refusal: Hashable {
        case tooManyFromAddress, tooManyInTotal, tooManyDescriptors
    }

    init(maximumPerAddress: Int?, maximumTotal: Int?, maximumDescriptors: Int) {
        self.maximumPerAddress = maximumPerAddress
        self.maximumTotal = maximumTotal
        self.maximumDescriptors = maximumDescriptors
    }

    /// Counts a connection, or says why it must not be.
    mutating func admit(_ key: Peer.AddressKey) -> Refusal? {
        if let maximumTotal, total >= maximumTotal { return .tooManyInTotal }
        guard total < maximumDescriptors else { return .tooManyDescriptors }
        if let maximumPerAddress {
            let count = perAddress[key, default: 0]
            guard count < maximumPerAddress else { return .tooManyFromAddress }
            perAddress[key] = count + 1
        }
        total += 1
        return nil
    }

    mutating func release(_ key: Peer.AddressKey) {
        total -= 1
        guard maximumPerAddress != nil, let count = perAddress[key] else { return }
        perAddress[key] = count > 1 ? count - 1 : nil
    }
}
