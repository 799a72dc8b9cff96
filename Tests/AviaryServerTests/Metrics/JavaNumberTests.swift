import Testing

@testable import AviaryServer

@Suite("Numbers as Java prints them")
struct JavaNumberTests {
    @Test(
        arguments: [
            (0, "0.0"), (1, "1.0"), (14.9, "14.9"), (0.125, "0.125"), (5.857142857, "5.8571"), (0.0001, "1.0E-4"),
            (0.001, "0.001"), (0.00005, "1.0E-4"), (9_999_999, "9999999.0"), (10_000_000, "1.0E7"),
            (12_345_678.5, "1.23456785E7"), (-0.0002, "-2.0E-4"), (1e20, "1.0E20"),
        ])
    func rounded(value: Double, text: String) {
        #expect(JavaNumber.rounded(value) == text)
    }
}
