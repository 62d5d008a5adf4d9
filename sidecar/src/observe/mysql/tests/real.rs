//! A real MariaDB with its own client, and with one that sends what that client does not, seen through the relay and
//! compared with what the server counted.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};

use nix::unistd::{User, geteuid};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::observe::watched::{Watch, printed, tally};

const SERVER: &str = "/usr/sbin/mariadbd";
const INSTALL: &str = "/usr/bin/mariadb-install-db";
const COUNTED: &str = "SELECT event_name, count_star, sum_errors, sum_rows_affected + sum_rows_sent \
    FROM performance_schema.events_statements_summary_by_user_by_event_name WHERE count_star > 0 AND user = ";

struct Server {
    address: SocketAddr,
    server: Child,
    dir: TempDir,
}

// === impl Server ===

impl Server {
    /// A server with a database and two users, or none where it is not installed.
    async fn start() -> Option<Self> {
        if !Path::new(SERVER).exists() || !Path::new(INSTALL).exists() {
            assert!(std::env::var_os("CI").is_none(), "not installed: {SERVER}");
            eprintln!("SKIPPED: not installed: {SERVER}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            let user = User::from_name("mysql").unwrap().expect("the package makes a user");
            chown(dir.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let data = format!("--datadir={}", dir.path().join("data").display());
        let made = program(INSTALL, dir.path())
            .args(["--no-defaults", &data, "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-use-native-aio=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(made.status.success(), "{INSTALL}: {made:?}");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = program(SERVER, dir.path())
            .args(["--no-defaults", &data, "--bind-address=127.0.0.1", &format!("--port={}", address.port())])
            .arg(format!("--socket={}", dir.path().join("socket").display()))
            .args(["--performance-schema=ON", "--performance-schema-instrument=statement/%=ON", "--max-allowed-packet=64M"])
            .args(["--local-infile=ON", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--innodb-use-native-aio=0"])
            .spawn()
            .unwrap();
        let mut this = Self { address, server, dir };
        while TcpStream::connect(address).await.is_err() {
            assert_eq!(this.server.try_wait().unwrap(), None, "the server ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        this.admin(
            "CREATE DATABASE shop; CREATE USER app@localhost IDENTIFIED BY 'hunter2'; CREATE USER raw@localhost; \
             GRANT ALL ON shop.* TO app@localhost; GRANT ALL ON shop.* TO raw@localhost",
        )
        .await;
        Some(this)
    }

    async fn admin(&self, text: &str) -> String {
        client(&["--socket", &self.dir.path().join("socket").display().to_string(), "-uroot", "-N", "-B"], text).await
    }

    /// For each kind of statement of `user` how many there were, how many failed, and their rows.
    async fn counted(&self, user: &str) -> BTreeMap<String, [u64; 3]> {
        let lines = self.admin(&format!("{COUNTED} '{user}'")).await;
        let line = |line: &str| {
            let (name, counts) = line.split_once('\t').unwrap();
            let counts: Vec<u64> = counts.split('\t').map(|count| count.parse().unwrap()).collect();
            (name.trim_start_matches("statement/").to_owned(), counts.try_into().unwrap())
        };
        lines.lines().map(line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// A program of the package, run as the package's user where this process is root.
fn program(path: &str, dir: &Path) -> Program {
    let mut command = if geteuid().is_root() {
        let mut command = Program::new("setpriv");
        command.args(["--reuid=mysql", "--regid=mysql", "--clear-groups", path]);
        command
    } else {
        Program::new(path)
    };
    // Each has its own place for temporary tables: a server removes at its start whatever others left there.
    command.current_dir(dir).env("TMPDIR", dir).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What the package's client prints of the lines of `input`.
async fn client(arguments: &[&str], input: &str) -> String {
    printed(tokio::process::Command::new("mariadb").args(["--no-defaults", "--force"]).args(arguments), input).await
}

fn decoder() -> Box<dyn Decoder> {
    Box::<Mysql>::default()
}

/// The event that the server counts a statement under.
fn event_name(done: &Statement) -> String {
    let operation = done.class.operation.to_lowercase().replace(' ', "_");
    match operation.as_str() {
        "start_transaction" => "sql/begin".to_owned(),
        "nosuch" | "other" | "" => "sql/error".to_owned(),
        _ => format!("sql/{operation}"),
    }
}

#[tokio::test]
async fn counts_what_the_server_counts() {
    let Some(server) = Server::start().await else { return };
    let watch = Watch::start(server.address, decoder).await;
    let port = watch.address.port().to_string();
    let common = ["--protocol=tcp", "-h127.0.0.1", "-P", &port, "-uapp"];
    let file = server.dir.path().join("rows");
    std::fs::write(&file, "7\n8\n9\n").unwrap();
    let statements = format!(
        "CREATE TABLE item (a INT PRIMARY KEY);\nINSERT INTO item VALUES (1), (2), (3);\nSELECT * FROM item;\nSELECT a FROM item WHERE a = 'none';\n\
         BEGIN;\nUPDATE item SET a = a + 10;\nCOMMIT;\nSTART TRANSACTION;\nDELETE FROM item;\nROLLBACK;\nSELECT * FROM missing;\nnosuch thing;\n\
         INSERT INTO item VALUES (11);\nREPLACE INTO item VALUES (11);\nLOAD DATA LOCAL INFILE '{}' INTO TABLE item;\nDROP TABLE item;\n",
        file.display()
    );
    client(&[&common[..], &["-phunter2", "--local-infile=1", "shop"]].concat(), &statements.repeat(3)).await;
    client(&[&common[..], &["-pwrong", "shop"]].concat(), "SELECT 1;\n").await;
    let told = watch.stop().await;
    let debug = format!("{told:?}");
    assert!(!debug.contains("hunter2") && !debug.contains("Opaque"), "{debug}");
    let refused = tally(&told, |event| if let Event::Refused(code, trouble) = event { Some(format!("{} {trouble:?}", code.as_str())) } else { None });
    assert_eq!(refused, BTreeMap::from([("1045 Authentication".to_owned(), 1)]));
    let ends = tally(&told, |event| if let Event::Transaction { committed, .. } = event { Some(committed.to_string()) } else { None });
    assert_eq!(ends, BTreeMap::from([("false".to_owned(), 3), ("true".to_owned(), 3)]));

    let mut counted: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for event in told.iter().flatten() {
        if let Event::Done(done) = event {
            let [count, failed, rows] = counted.entry(event_name(done)).or_default();
            (*count, *failed, *rows) = (*count + 1, *failed + u64::from(done.error.is_some()), *rows + done.rows);
        }
    }
    let mut expected = server.counted("app").await;
    expected.retain(|name, _| name.starts_with("sql/"));
    assert!(expected["sql/select"][0] >= 9 && expected["sql/load"][2] >= 9, "{expected:?}");
    assert_eq!(counted, expected);
}

/// Logs in as a client that has these capabilities and MariaDB's `more`, sends `commands` at once, and waits for the end.
async fn raw(address: SocketAddr, capabilities: u32, more: u32, commands: &[Vec<u8>]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Of the database, statements in series, their results, those of prepared ones, and authentication by plugin.
    let capabilities = capabilities | BASIC | 1 << 3 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19;
    let login = [&capabilities.to_le_bytes()[..], &[0, 0, 0, 1, 8], &[0; 19], &more.to_le_bytes(), b"raw\0\0shop\0mysql_native_password\0"].concat();
    let mut header = [0; 4];
    for answer in [Some(login), None] {
        stream.read_exact(&mut header).await.unwrap();
        let mut payload = vec![0; usize::from(header[0])];
        stream.read_exact(&mut payload).await.unwrap();
        match answer {
            Some(login) => stream.write_all(&packet(1, &login)).await.unwrap(),
            None => assert_eq!(payload[0], 0, "{}", String::from_utf8_lossy(&payload)),
        }
    }
    let (mut reader, mut writer) = stream.split();
    let commands = commands.concat();
    let sending = async { writer.write_all(&commands).await.unwrap() };
    let mut answers = Vec::new();
    let ((), read) = tokio::join!(sending, reader.read_to_end(&mut answers));
    read.unwrap();
}

#[tokio::test]
async fn follows_every_command_however_it_ends_its_rows() {
    let long = [b"SELECT LENGTH('".as_slice(), &vec![b'x'; 17 * 1024 * 1024], b"')"].concat();
    let (head, tail) = long.split_at(0xff_fffe);
    let long = [packet(0, &[b"\x03", head].concat()), packet(1, tail)].concat();
    let both: &[u8] = &[0, 1, 3, 0, 3, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    let execute = |statement: u8, cursor: u8, parameters: &[u8]| command(0x17, &[&[statement, 0, 0, 0, cursor, 1, 0, 0, 0], parameters].concat());
    let commands = [
        command(3, b"CREATE OR REPLACE TABLE r (a INT, b LONGBLOB)"),
        command(3, b"SELECT 1; INSERT INTO r VALUES (1, ''), (2, ''); SELECT * FROM r"),
        command(0x16, b"SELECT a, ? FROM r WHERE a > ?"),
        execute(1, 0, both),
        execute(1, 0, both),
        execute(1, 1, both),
        command(0x1c, &[1, 0, 0, 0, 1, 0, 0, 0]),
        command(0x1c, &[1, 0, 0, 0, 9, 0, 0, 0]),
        command(0x1a, &[1, 0, 0, 0]),
        command(0x16, b"INSERT INTO r (b) VALUES (?)"),
        command(0x18, &[2, 0, 0, 0, 0, 0, 1, 2, 3]),
        execute(2, 0, &[0, 1, 252, 0]),
        command(0xfa, &[2, 0, 0, 0, 128, 0, 3, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0]),
        command(0x19, &[2, 0, 0, 0]),
        execute(2, 0, &[0, 1, 252, 0]),
        command(0x16, b"SELECT nothing FROM nowhere"),
        command(0x16, b"DO 1"),
        execute(4, 0, &[]),
        command(0x0e, b""),
        command(2, b"shop"),
        command(9, b""),
        command(0x1b, &[0, 0]),
        command(4, b"r\0"),
        long,
        command(3, b"SELECT REPEAT('x', 17 * 1024 * 1024)"),
        command(0x1f, b""),
        command(1, b""),
    ];
    // Execution with many sets of parameters is for those that have MariaDB's capabilities.
    for (capabilities, more, many) in
        [(1, 0, "E1295"), (1 | CLIENT_DEPRECATES, 0, "E1295"), (CLIENT_DEPRECATES, 1 | 1 << 2 | 1 << 4, "2"), (0, 1 | 1 << 2 | 1 << 4, "2")]
    {
        // A server of its own, so that it numbers the statements from one.
        let Some(server) = Server::start().await else { return };
        let watch = Watch::start(server.address, decoder).await;
        raw(watch.address, capabilities, more, &commands).await;
        let told = watch.stop().await;
        let before = ["ready", "0", "5", "0", "2", "2", "0", "1", "1", "0", "0", "1"];
        let after = ["E1243", "E1146", "0", "0", "0", "0", "0", "0", "2", "1", "1", "0"];
        let brief: Vec<String> = told[0].iter().filter_map(brief).collect();
        assert_eq!(brief, [&before[..], &[many], &after].concat());
        let counted = server.counted("raw").await;
        let ours = tally(&told, |event| if let Event::Done(done) = event { Some(done.class.operation.to_string()) } else { None });
        let named =
            [("PREPARE", "Prepare"), ("FETCH", "Fetch"), ("PING", "Ping"), ("USE", "Init DB"), ("RESET STATEMENT", "Reset stmt"), ("FIELD LIST", "Field List")];
        for (operation, name) in named {
            assert_eq!(ours[operation], counted[&format!("com/{name}")][0], "{name} in {counted:?}");
        }
    }
}

/// A statement as its number of rows or error, and every other end.
fn brief(event: &Event) -> Option<String> {
    match event {
        Event::Asked(_) => None,
        Event::Done(done) => Some(done.error.map_or_else(|| done.rows.to_string(), |(code, _)| format!("E{}", code.as_str()))),
        Event::Ready { .. } => Some("ready".to_owned()),
        _ => Some(format!("{event:?}")),
    }
}
