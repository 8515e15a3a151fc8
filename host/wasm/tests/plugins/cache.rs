//! Compiled code between starts: taken only when this installation wrote it.

use crate::support::*;
use muster_wasm::HostOptions;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

async fn start(folder: &Path) -> Stage {
    Stage::with(HostOptions { cache_dir: Some(folder.to_owned()), ..options() }).await
}

fn compiled(folder: &Path) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let paths = files.flatten().map(|file| file.path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

fn written(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[tokio::test]
async fn the_second_start_takes_what_the_first_compiled() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cache");
    start(&folder).await.still_serves().await;
    let [file] = compiled(&folder).try_into().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file), mode(&folder.join("key"))), (0o700, 0o600, 0o600));
    let before = written(&file);
    start(&folder).await.still_serves().await;
    assert_eq!(compiled(&folder), std::slice::from_ref(&file));
    assert_eq!(written(&file), before, "it was compiled again");
}

/// Changes the one file of the cache, starts again, and says whether the file was replaced.
async fn replaced_after(change: impl FnOnce(&Path, &Path)) -> bool {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cache");
    start(&folder).await;
    let [file] = compiled(&folder).try_into().unwrap();
    let sealed = fs::read(&file).unwrap();
    change(&folder, &file);
    start(&folder).await.still_serves().await;
    let again = fs::read(&file).unwrap();
    again.len() == sealed.len() && start(&folder).await.host.health_check("good").is_some()
}

#[tokio::test]
async fn a_changed_file_is_deleted_and_made_again() {
    let change = |_: &Path, file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    };
    assert!(replaced_after(change).await);
}

#[tokio::test]
async fn a_short_an_empty_and_a_foreign_file_are_made_again() {
    assert!(replaced_after(|_, file| fs::write(file, b"short").unwrap()).await);
    assert!(replaced_after(|_, file| fs::write(file, b"").unwrap()).await);
    // sealed with another node's key
    assert!(replaced_after(|folder, _| fs::write(folder.join("key"), [7; 32]).unwrap()).await);
    assert!(replaced_after(|folder, _| fs::write(folder.join("key"), b"damaged").unwrap()).await);
}

#[tokio::test]
async fn a_sealed_file_under_another_name_is_not_taken() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cache");
    let stage = start(&folder).await;
    let [good] = compiled(&folder).try_into().unwrap();
    stage.check("does_nothing").await;
    let other = compiled(&folder).into_iter().find(|path| *path != good).unwrap();
    let right = fs::read(&good).unwrap();
    fs::write(&good, fs::read(&other).unwrap()).unwrap();
    let stage = start(&folder).await;
    stage.still_serves().await;
    assert_eq!(fs::read(&good).unwrap().len(), right.len(), "the right code was put back");
}

#[tokio::test]
async fn a_file_that_others_may_write_is_not_taken() {
    let open = |_: &Path, file: &Path| {
        fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    };
    assert!(replaced_after(open).await);
}

#[tokio::test]
async fn a_folder_that_others_may_enter_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cache");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    start(&folder).await.still_serves().await;
    assert!(compiled(&folder).is_empty());
    let link = root.path().join("link");
    let real = root.path().join("real");
    fs::create_dir(&real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    start(&link).await.still_serves().await;
    assert!(compiled(&real).is_empty(), "it followed a link");
}
