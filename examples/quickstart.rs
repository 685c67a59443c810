//! Counts words and looks some up.

use millpond::{Engine, GraphBuilder, Result, Topic};

fn main() -> Result<()> {
    let lines = Topic::<u64, String>::new("lines");
    let graph = GraphBuilder::new();
    let words = graph
        .stream(&lines)
        .flat_map(|_, line: String| line.split(' ').map(|word| (word.to_owned(), ())).collect::<Vec<_>>())
        .group_by_key()
        .count("words");

    let dir = std::env::temp_dir().join(format!("millpond-quickstart-{}", std::process::id()));
    let engine = Engine::open(&dir, &graph.build()?)?;
    engine.append(&lines, &1, &"the mill turns the stone".to_owned()).wait_blocking()?;
    let position = engine.append(&lines, &2, &"the pond turns the mill".to_owned()).wait_blocking()?;
    engine.wait_for_blocking(&position)?;

    let view = engine.view(&words)?;
    println!("the: {:?}", view.get("the")?);
    for row in view.scan()? {
        let (word, count) = row?;
        println!("{count} {word}");
    }
    engine.close_blocking()?;
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}
