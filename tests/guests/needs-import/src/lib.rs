//! A service's worth of imports that no node provides.

wit_bindgen::generate!({
    inline: "
        package acme:tax@1.0.0;
        interface vat { rate: func(country: string) -> u32; }
        interface duty { rate: func(country: string) -> u32; }
        world needy {
            import vat;
            import duty;
            export total: func(country: string) -> u32;
        }
    ",
});

struct Needy;

export!(Needy);

impl Guest for Needy {
    fn total(country: String) -> u32 {
        acme::tax::vat::rate(&country) + acme::tax::duty::rate(&country)
    }
}
