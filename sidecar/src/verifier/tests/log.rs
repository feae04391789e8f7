//! What is logged.

use std::{cell::RefCell, fmt, sync::Once};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, Registry,
    filter::LevelFilter,
    layer::{Context, SubscriberExt as _},
};

/// A line: its level, and the code of the state that it tells of.
type Line = (Level, Option<String>);

thread_local! {
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Notes the lines of this thread's log. It is the subscriber of the whole process: that of a
/// thread may miss what other threads log first.
struct Note;

impl<S: Subscriber> Layer<S> for Note {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Code(Option<String>);

        impl Visit for Code {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "reason_code" {
                    self.0 = Some(value.to_owned());
                }
            }

            fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
        }

        let mut code = Code(None);
        event.record(&mut code);
        LINES.with_borrow_mut(|lines| lines.push((*event.metadata().level(), code.0)));
    }
}

/// Begins anew to note lines.
pub(super) fn note() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = Registry::default().with(Note.with_filter(LevelFilter::INFO));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    LINES.with_borrow_mut(Vec::clear);
}

/// The lines since then.
pub(super) fn lines() -> Vec<Line> {
    LINES.with_borrow(Clone::clone)
}
