internal import AviaryCore
internal import ZooKeeperProtocol

// mntr: one `zk_NAME<TAB>VALUE` a line (docs/protocol/client-protocol.md section 19).
//
// The names are Apache's, in its order, and of them those that mean something here: there are no queues between
// processors and no Java machine whose figures could be shown, and a zero that never changes would be a lie
// on a dashboard. docs/design/server.md lists what is left out.

extension ServerLoop {
    func addMetrics(to text: inout StatusText) {
        addGauges(to: &text)
        addQuotas(to: &text)
        addCounters(to: &text)
        addSummaries(to: &text)
        addPercentiles(to: &text)
        addEnsemble(to: &text)
    }

    private func addGauges(to text: inout StatusText) {
        let statistics = core.statistics
        text.metric("version", BuildInfo.zooKeeperVersion)
        text.metric("server_state", core.role.modeName ?? "looking")
        addRole(to: &text)
        text.metric("ephemerals_count", core.ephemeralCount)
        text.metric("num_alive_connections", core.connectionCount)
        text.metric("avg_latency", JavaNumber.rounded(statistics.latency.average))
        text.metric("outstanding_requests", core.outstandingRequests)
        text.metric("znode_count", core.nodeCount)
        text.metric("global_sessions", core.globalSessionCount)
        text.metric("last_client_response_size", statistics.lastResponseBytes)
        text.metric("packets_sent", statistics.packetsSent)
        text.metric("packets_received", statistics.packetsReceived)
        text.metric("max_client_response_size", statistics.maxResponseBytes)
        text.metric("connection_drop_probability", JavaNumber.text(throttle.dropProbability))
        text.metric("watch_count", core.watchCount)
        text.metric("auth_failed_count", statistics.authFailures)
        text.metric("min_latency", statistics.latency.min)
        text.metric("max_file_descriptor_count", ProcessFacts.maximumDescriptors())
        text.metric("approximate_data_size", core.approximateDataSize)
        text.metric("open_file_descriptor_count", ProcessFacts.openDescriptors())
        text.metric("local_sessions", core.localSessionCount)
        text.metric("uptime", (now.monotonicMicroseconds - startedMicroseconds) / 1000)
        text.metric("max_latency", statistics.latency.max)
        text.metric("outstanding_tls_handshake", 0)
        text.metric("min_client_response_size", statistics.minResponseBytes)
    }

    private func addQuotas(to text: inout StatusText) {
        core.forEachNamespaceQuota { quota in
            text.metric("\(quota.namespace)_quota_bytes_limit_per_namespace", quota.bytesLimit)
            text.metric("\(quota.namespace)_quota_count_usage_per_namespace", quota.countUsed)
            text.metric("\(quota.namespace)_quota_count_limit_per_namespace", quota.countLimit)
            text.metric("\(quota.namespace)_quota_bytes_usage_per_namespace", quota.bytesUsed)
        }
    }

    private func addCounters(to text: inout StatusText) {
        let statistics = core.statistics
        text.metric("watch_bytes", statistics.watchBytes)
        text.metric("throttled_ops", statistics.throttledOps)
        text.metric("connection_rejected", metrics.connectionsRejected)
        text.metric("sessionless_connections_expired", statistics.sessionlessExpired)
        text.metric("connection_drop_count", statistics.connectionDrops + metrics.connectionsDropped)
        text.metric("bytes_received_count", metrics.bytesReceived)
        text.metric("request_throttle_wait_count", metrics.throttleWaits)
        text.metric("stale_replies", statistics.staleReplies)
        text.metric("response_bytes", statistics.responseBytes)
        text.metric("ensemble_auth_fail", statistics.ensembleAuthFail)
        text.metric("connection_revalidate_count", statistics.connectionRevalidates)
        text.metric("commit_count", statistics.commits)
        text.metric("outstanding_changes_queued", statistics.outstandingChangesQueued)
        text.metric("ensemble_auth_skip", statistics.ensembleAuthSkip)
        text.metric("large_requests_rejected", metrics.largeRequestsRejected)
        text.metric("outstanding_changes_removed", statistics.outstandingChangesRemoved)
        text.metric("digest_mismatches_count", metrics.startup.digestMismatches + Int64(core.digestMismatchCount))
        text.metric("ensemble_auth_success", statistics.ensembleAuthSuccess)
        text.metric("snapshot_error_count", metrics.snapshotErrors)
        text.metric("connection_request_count", statistics.connectionRequests)
        text.metric("stale_sessions_expired", statistics.staleSessionsExpired)
        text.metric("sync_processor_request_queued", metrics.recordsLogged)
    }

    private func addSummaries(to text: inout StatusText) {
        let statistics = core.statistics
        let startup = metrics.startup
        text.metrics("node_created_watch_count", statistics.nodeCreatedWatches)
        text.metrics("connection_token_deficit", metrics.tokenDeficit)
        text.metrics("node_deleted_watch_count", statistics.nodeDeletedWatches)
        text.metrics("startup_txns_load_time", once: startup.replayMilliseconds)
        text.metrics("sync_processor_queue_size", metrics.logQueueLength)
        text.metrics("fsynctime", metrics.fsyncTime)
        text.metrics("snapshottime", metrics.snapshotTime)
        text.metrics("startup_txns_loaded", once: startup.transactions)
        text.metrics("dbinittime", once: startup.databaseMilliseconds)
        text.metrics("sync_processor_batch_size", metrics.batchRecords)
        text.metrics("node_children_watch_count", statistics.nodeChildrenWatches)
        text.metrics("node_changed_watch_count", statistics.nodeChangedWatches)
        text.metrics("startup_snap_load_time", once: startup.snapshotMilliseconds)
        core.forEachNamespaceTraffic { namespace, read, write in
            text.metrics("\(namespace)_read_per_namespace", read)
            text.metrics("\(namespace)_write_per_namespace", write)
        }
    }

    private func addPercentiles(to text: inout StatusText) {
        text.metrics("updatelatency", core.statistics.updateLatency)
        text.metrics("readlatency", core.statistics.readLatency)
        text.metrics("sync_processor_queue_and_flush_time_ms", metrics.logQueueAndFlushTime)
        text.metrics("sync_processor_queue_time_ms", metrics.logQueueTime)
        text.metrics("sync_processor_queue_flush_time_ms", metrics.logFlushTime)
    }
}

extension StatusText {
    mutating func metric(_ name: String, _ value: some CustomStringConvertible) {
        line("zk_\(name)\t\(value)")
    }

    mutating func metrics(_ name: String, _ summary: Summary) {
        metric("avg_\(name)", JavaNumber.rounded(summary.average))
        metric("min_\(name)", summary.min)
        metric("max_\(name)", summary.max)
        metric("cnt_\(name)", summary.count)
        metric("sum_\(name)", summary.sum)
    }

    mutating func metrics(_ name: String, once value: Int64) {
        var summary = Summary()
        summary.add(value)
        metrics(name, summary)
    }

    mutating func metrics(_ name: String, _ histogram: LatencyHistogram) {
        metrics(name, histogram.summary)
        metric("p50_\(name)", histogram.percentile(0.5))
        metric("p95_\(name)", histogram.percentile(0.95))
        metric("p99_\(name)", histogram.percentile(0.99))
        metric("p999_\(name)", histogram.percentile(0.999))
    }
}
