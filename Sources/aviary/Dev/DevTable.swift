/// The servers of `aviary dev` as people look at them.
enum DevTable {
    static func lines(_ plan: DevPlan, _ servers: [DevServer]) -> [String] {
        let ensemble = plan.isEnsemble
        let others = ensemble ? ["quorum", "election"] : []
        var rows = [["server", "role", "client"] + others + ["pid", "directory", "log"]]
        for server in servers {
            let ports = plan.ports(of: server.number)
            var row = ["\(server.number)", server.role, "\(ports.client)"]
            if ensemble { row += ["\(ports.quorum)", "\(ports.election)"] }
            row.append(server.child.map { "\($0.id)" } ?? "-")
            row += [plan.data(of: server.number), plan.log(of: server.number)]
            rows.append(row)
        }
        return align(rows).map { "  " + $0 } + ["", "  connect to  \(plan.connectString)"]
    }

    /// Columns, the last one as long as it is.
    static func align(_ rows: [[String]]) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            var line = cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}
