//! A terminal that only remembers what it shows.

use vte::ansi::{ClearMode, Handler, Processor, StdSyncHandler};

/// What a terminal of 80 columns by 24 rows shows when it was sent this. It knows as much as the dashboard sends.
#[derive(Default)]
pub struct Screen {
    cells: Vec<Vec<char>>,
    at: (usize, usize),
}

impl Screen {
    /// Its lines, without what is blank at their ends.
    pub fn of(bytes: &[u8]) -> String {
        let mut screen = Self::default();
        screen.clear_screen(ClearMode::All);
        Processor::<StdSyncHandler>::new().advance(&mut screen, bytes);
        let lines = screen
            .cells
            .iter()
            .map(|line| line.iter().collect::<String>().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Handler for Screen {
    fn input(&mut self, c: char) {
        let (line, column) = self.at;
        if let Some(cell) = self.cells.get_mut(line).and_then(|line| line.get_mut(column)) {
            *cell = c;
        }
        self.at.1 += 1;
    }

    fn goto(&mut self, line: i32, column: usize) {
        self.at = (usize::try_from(line).unwrap(), column);
    }

    fn clear_screen(&mut self, _mode: ClearMode) {
        self.cells = vec![vec![' '; 80]; 24];
    }
}
