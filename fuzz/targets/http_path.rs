//! Paths and names that come from strangers: nothing leaves the root, and a link leads back.

#![no_main]

use corering::http::path::{
    NAME_BYTES_MAX, PATH_BYTES_MAX, RequestPath, UniqueNames, file_name_from_url_path,
};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

libfuzzer_sys::fuzz_target!(|target: &str| {
    if let Ok(path) = RequestPath::parse(target) {
        let relative = path.relative();
        let bytes = relative.as_os_str().as_bytes();
        assert!(bytes.len() <= PATH_BYTES_MAX && !bytes.contains(&0));
        for component in relative.components() {
            assert!(matches!(component, Component::Normal(_)), "{relative:?}");
            assert!(component.as_os_str().len() <= NAME_BYTES_MAX);
        }
        assert!(Path::new("/root").join(relative).starts_with("/root"));
        let link = path.link();
        assert!(!link.starts_with("//") && link.is_ascii());
        assert_eq!(RequestPath::parse(&link).as_ref(), Ok(&path), "{link}");
    }
    let name = file_name_from_url_path(target);
    assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX, "{name:?}");
    assert!(name != "." && name != ".." && !name.contains(['/', '\\', '\0']));
    let mut names = UniqueNames::default();
    let claimed = [(); 3].map(|()| names.claim(&name));
    assert!(claimed[0] == name && claimed[1] != name && claimed[2] != claimed[1]);
    assert!(claimed.iter().all(|name| name.len() <= NAME_BYTES_MAX));
});
