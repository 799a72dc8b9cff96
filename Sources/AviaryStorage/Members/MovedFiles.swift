/// Moves files into a folder of the directory they are in, where nothing reads them.
///
/// Inside of the directory, and not beside it: there it is the same file system for certain. Apache's servers look past
/// folders.
enum MovedFiles {
    /// Moves files that are there, in order. May be interrupted and begun again with those that are left: when it returns,
    /// all of them are stable in the folder.
    ///
    /// - Parameter folder: made if it is missing. What has the same name in it is replaced.
    static func move<D: Disk>(
        _ names: [String],
        from directory: String,
        to folder: String,
        on disk: D
    ) throws(DiskError) {
        let path = FileNames.join(directory, folder)
        if try disk.entry(at: path) == nil {
            guard !names.isEmpty else { return }
            try disk.makeDirectory(path)
            try disk.sync(directory: directory)
        }
        for name in names {
            try disk.rename(FileNames.join(directory, name), to: FileNames.join(path, name))
        }
        // The new names first: a file that has two names is better than one that has none.
        try disk.sync(directory: path)
        try disk.sync(directory: directory)
    }

    /// Removes a folder and the files in it.
    static func remove<D: Disk>(_ folder: String, from directory: String, on disk: D) throws(DiskError) {
        let path = FileNames.join(directory, folder)
        for entry in try disk.list(path).sorted(by: { $0.name < $1.name }) {
            try disk.remove(FileNames.join(path, entry.name))
        }
        try disk.removeDirectory(path)
    }
}
