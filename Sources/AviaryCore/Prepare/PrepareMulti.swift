import ZooKeeperProtocol

/// One part of a multi, read but not judged.
enum MultiPart {
    case create(CreateRequest, CreateShape)
    /// A part that is refused whatever the tree looks like.
    case refused(ErrorCode, Operation)
    case delete(DeleteRequest)
    case setData(SetDataRequest)
    case check(CheckVersionRequest)
}

/// Why a whole multi is refused.
struct MultiRefusal: Error {
    var code: ErrorCode
    /// A list with a null ACL vector is the one refused multi that takes no zxid.
    var takesZxid = true
}

/// What a multi leaves as it was when it fails, besides the changes in flight.
private struct MultiUndo {
    var ephemerals: Int
    var notes: Int
    var toldQuotas: Set<[UInt8]>
}

extension ServerCore {
    /// All parts in order, each against the state that the earlier ones leave; all of them or none
    /// (docs/protocol/client-protocol.md section 9).
    ///
    /// A failed multi is a transaction too: the parts before the failing one as they would have been, its code, and −2
    /// for the rest (docs/protocol/quorum-protocol.md section 17.1).
    mutating func prepareMulti(
        _ reader: inout JuteReader,
        _ context: PrepareContext
    ) throws(MultiRefusal) -> TxnBody {
        pending.beginMulti()
        let before = MultiUndo(
            ephemerals: context.session?.pendingEphemerals.count ?? 0,
            notes: quotaNotes.count,
            toldQuotas: toldQuotas
        )
        var bodies: [TxnBody] = []
        var targets: [Target] = []
        // A small list grows once; what is claimed by a large one is not believed.
        let expected = min(reader.remaining / 64, 16)
        bodies.reserveCapacity(expected)
        targets.reserveCapacity(expected)
        var failure: ErrorCode?
        var bytes = 0
        fetchAhead(parts: reader)
        do throws(MultiRefusal) {
            while let part = try nextPart(&reader) {
                if (bodies.count + 1) % LookAhead.capacity == 0 { fetchAhead(parts: reader) }
                if failure != nil {
                    bodies.append(.error(.runtimeInconsistency))
                    continue
                }
                do {
                    target = Target()
                    let body = try prepare(part, context)
                    bytes += body.encodedSize
                    bodies.append(body)
                    targets.append(target)
                } catch {
                    failure = error
                    bodies.append(.error(error))
                }
                // An ACL for `auth` makes a part longer than it came in, a thousand times: what cannot be written in the
                // end is not worked out to the end.
                guard bytes <= options.maxBufferBytes else { throw MultiRefusal(code: .marshallingError) }
            }
            // A null ACL id refuses the whole list, not its part; and a record that cannot be read back must not be
            // written.
            let body = TxnBody.multi(bodies)
            if failure == .marshallingError || body.encodedSize + 256 > options.maxBufferBytes {
                throw MultiRefusal(code: .marshallingError)
            }
            target = Target()
            if failure != nil {
                undoMulti(to: before, context)
            } else {
                pending.keepMulti(lists: &tree.accessLists)
                partTargets = targets
            }
            return body
        } catch {
            undoMulti(to: before, context)
            throw error
        }
    }

    private mutating func prepare(_ part: MultiPart, _ context: PrepareContext) throws(ErrorCode) -> TxnBody {
        switch part {
        case .create(let request, let shape): try prepareCreate(request, shape, context)
        case .refused(let code, _): throw code
        case .delete(let request): try prepareDelete(request, context)
        case .setData(let request): try prepareSetData(request, context)
        case .check(let request): try prepareCheck(request, context)
        }
    }

    private mutating func undoMulti(to before: MultiUndo, _ context: PrepareContext) {
        pending.undoMulti(in: tree.nodes, lists: &tree.accessLists)
        target = Target()
        context.session?.pendingEphemerals.removeLast(downTo: before.ephemerals)
        quotaNotes.removeLast(quotaNotes.count - before.notes)
        toldQuotas = before.toldQuotas
    }

    /// Reads a part; nil behind the last. What may not be in a list refuses it whole.
    private func nextPart(_ reader: inout JuteReader) throws(MultiRefusal) -> MultiPart? {
        do {
            let header = try MultiHeader(from: &reader)
            return header.isDone ? nil : try multiPart(type: header.type, &reader)
        } catch let refusal as MultiRefusal {
            throw refusal
        } catch {
            throw MultiRefusal(code: .marshallingError)
        }
    }

    private func multiPart(type: Int32, _ reader: inout JuteReader) throws -> MultiPart {
        let malformed = MultiRefusal(code: .marshallingError)
        guard let operation = Operation(rawValue: type) else { throw malformed }
        switch operation {
        case .create, .create2, .createContainer, .createTTL:
            let request = try CreateRequest(from: &reader, hasTTL: operation == .createTTL)
            if case .null = request.acl, operation != .createTTL {
                throw MultiRefusal(code: .marshallingError, takesZxid: false)
            }
            guard request.path != nil else { throw malformed }
            return try multiCreate(operation, request)
        case .delete:
            let request = try DeleteRequest(from: &reader)
            guard request.path != nil else { throw malformed }
            return .delete(request)
        case .setData:
            let request = try SetDataRequest(from: &reader)
            guard request.path != nil else { throw malformed }
            return .setData(request)
        case .check:
            let request = try CheckVersionRequest(from: &reader)
            guard request.path != nil else { throw malformed }
            return .check(request)
        case .exists, .getData, .getACL, .setACL, .getChildren, .sync, .ping, .getChildren2, .multi, .reconfig,
            .checkWatches, .removeWatches, .deleteContainer, .multiRead, .auth, .setWatches, .sasl, .getEphemerals,
            .getAllChildrenNumber, .setWatches2, .addWatch, .whoAmI, .createSession, .closeSession, .error:
            throw malformed
        }
    }

    /// Inside a list the flags decide more than outside: 4 makes a container of any record, and a createTTL record
    /// without a TTL flag is a plain create.
    private func multiCreate(_ operation: Operation, _ request: CreateRequest) throws -> MultiPart {
        let flags = request.flags
        let isSequential = flags == 2 || flags == 3
        let isEphemeral = flags == 1 || flags == 3
        if operation == .createTTL {
            guard flags <= 4, flags >= 0 else {
                do throws(ErrorCode) {
                    let shape = try CreateShape(
                        operation,
                        flags: flags,
                        ttlMilliseconds: request.ttlMilliseconds,
                        extendedTypes: options.extendedTypes
                    )
                    return .create(request, shape)
                } catch {
                    return .refused(error, operation)
                }
            }
            let kind: TxnBody.CreateTxn.Kind = flags == 4 ? .container : .create
            return .create(request, CreateShape(kind: kind, isSequential: isSequential, isEphemeral: isEphemeral))
        }
        guard (0...4).contains(flags) else { throw MultiRefusal(code: .marshallingError) }
        if flags == 4 || operation == .createContainer {
            return .create(
                request,
                CreateShape(kind: .container, isSequential: isSequential, isEphemeral: false)
            )
        }
        return .create(
            request,
            CreateShape(
                kind: operation == .create2 ? .create2 : .create,
                isSequential: isSequential,
                isEphemeral: isEphemeral
            )
        )
    }
}
