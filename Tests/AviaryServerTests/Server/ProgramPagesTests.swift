#if os(Linux)
    import AviaryServer
    import Testing

    @Suite("Pages of the program")
    struct ProgramPagesTests {
        @Test("What was let go is there again when it is needed")
        func letGo() {
            ProgramPages.letGoOfStart()
            #expect("aviary".uppercased() == "AVIARY")
            ProgramPages.letGoOfStart()
            #expect([3, 1, 2].sorted() == [1, 2, 3])
        }
    }
#endif
