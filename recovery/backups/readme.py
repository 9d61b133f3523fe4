"""What is said inside every backup to whoever has it and no console."""

README = """\
A backup of a PostgreSQL database, made by pg_dump. It restores without the console that made it.

  dump/         the database (pg_dump's directory format)
  globals.sql   the server's roles and tablespaces (pg_dumpall --globals-only); without passwords
                when the role that made the backup may not read them
  settings.json what ALTER DATABASE ... SET and ALTER ROLE ... IN DATABASE ... SET had set; dump/ has it too
  README.txt    this text

You need the age key it was encrypted for, and PostgreSQL's programs of the same major version as the
server it came from, or newer. `toc.dat` in dump/ names both.

  1. Decrypt and unpack:
       age --decrypt --identity key.txt BACKUP.tar.age | tar --extract
     Look at age's exit code: a file that was cut off unpacks in part and ends with an error.
  2. On a new server, make the roles. Not on one that is in use: roles that are there already get
     the rights and the passwords of the backup:
       psql --dbname=postgres --file=globals.sql
  3. Make an empty database and fill it; the first error stops it:
       createdb --template=template0 restored
       pg_restore --exit-on-error --jobs=2 --dbname=restored dump
     To get the database under its own name, with its settings, locale and rights, instead:
       pg_restore --exit-on-error --create --dbname=postgres dump
"""
